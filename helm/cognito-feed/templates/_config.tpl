{{/*
The file COGNITO_FEED_CONFIG of one service. Each has its own, because a service refuses a file that names secrets it can't read:
the poller's names no database, and only the publisher's names webhooks.

`awsRegion` stands in each pool, not at the top: EKS puts AWS_REGION, the cluster's own Region, into the environment of every pod that has a
role, and the environment counts more than the top of the file.
*/}}
{{- define "cognito-feed.config" -}}
{{- $service := .service -}}
{{- $values := .root.Values -}}
{{- $file := omit $values.config "awsRegion" -}}
{{- $pools := list -}}
{{- range $i, $pool := $values.pools -}}
{{- $entry := omit $pool "databaseSecret" "migrateDatabaseSecret" "publisherDatabaseSecret" -}}
{{- $own := regexFind "^[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}_" $pool.cognitoUserPoolId | trimSuffix "_" -}}
{{- $region := default $own (default $values.config.awsRegion $pool.awsRegion) -}}
{{- if $region -}}{{- $_ := set $entry "awsRegion" $region -}}{{- end -}}
{{- if ne $service "poller" -}}
{{- $secret := include "cognito-feed.poolDatabaseSecret" (dict "service" $service "pool" $pool) | fromJson -}}
{{- if $secret.name -}}{{- $_ := set $entry "databaseUrlFile" (printf "/etc/cognito-feed/databases/%d/url" $i) -}}{{- end -}}
{{- end -}}
{{- $pools = append $pools $entry -}}
{{- end -}}
{{- $_ := set $file "pools" $pools -}}
{{- if and (eq $service "publisher") $values.publisher.webhooks -}}
{{- $webhooks := list -}}
{{- range $i, $webhook := $values.publisher.webhooks -}}
{{- $folder := printf "/etc/cognito-feed/webhooks/%d" $i -}}
{{- $entry := merge (omit $webhook "secret") (dict "urlFile" (printf "%s/url" $folder) "secretFile" (printf "%s/secret" $folder)) -}}
{{- if $webhook.secret.secretPreviousKey -}}{{- $_ := set $entry "secretPreviousFile" (printf "%s/previous" $folder) -}}{{- end -}}
{{- $webhooks = append $webhooks $entry -}}
{{- end -}}
{{- $_ := set $file "webhooks" $webhooks -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* A changed file, or a changed Secret of this chart's own, is a changed pod. */}}
{{- define "cognito-feed.checksums" -}}
checksum/config: {{ include "cognito-feed.config" . | sha256sum }}
{{- if .root.Values.secrets.create }}
checksum/secret: {{ include "cognito-feed.made" . | sha256sum }}
{{- end }}
{{- end -}}

{{/* Whether Postgres is reached by tokens of RDS IAM, for which AWS' endpoints are needed. */}}
{{- define "cognito-feed.rdsIam" -}}
{{- $iam := eq (toString .Values.config.databaseAuth) "rds-iam" -}}
{{- range .Values.pools -}}{{- if eq (toString .databaseAuth) "rds-iam" -}}{{- $iam = true -}}{{- end -}}{{- end -}}
{{- if $iam }}true{{ end -}}
{{- end -}}
