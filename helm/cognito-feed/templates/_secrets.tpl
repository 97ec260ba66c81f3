{{/*
The Secret and key that a service reads a URL from, as JSON {name, key}: its own, else the one for all, else the one this chart makes.
(dict "root" $ "service" "writer" "own" … "common" … "made" "databaseUrl" "key" "DATABASE_URL")
*/}}
{{- define "cognito-feed.secret" -}}
{{- if .own.name -}}
{{- .own | toJson -}}
{{- else if .common.name -}}
{{- .common | toJson -}}
{{- else if and .root.Values.secrets.create .made -}}
{{- dict "name" (include "cognito-feed.name" .) "key" .key | toJson -}}
{{- else -}}
{{- dict "name" "" "key" "" | toJson -}}
{{- end -}}
{{- end -}}

{{/* DATABASE_URL of a service, as JSON {name, key}; name "" where there is none. */}}
{{- define "cognito-feed.databaseSecret" -}}
{{- $made := include "cognito-feed.madeDatabaseUrl" . -}}
{{- $own := (get .root.Values .service).databaseSecret -}}
{{- include "cognito-feed.secret" (dict "root" .root "service" .service "own" $own "common" .root.Values.database.secret "made" $made "key" "DATABASE_URL") -}}
{{- end -}}

{{- define "cognito-feed.redisSecret" -}}
{{- $own := (get .root.Values .service).redisSecret -}}
{{- include "cognito-feed.secret" (dict "root" .root "service" .service "own" $own "common" .root.Values.redis.secret "made" .root.Values.secrets.redisUrl "key" "REDIS_URL") -}}
{{- end -}}

{{/* The text of DATABASE_URL in the Secret that this chart makes for a service. */}}
{{- define "cognito-feed.madeDatabaseUrl" -}}
{{- with .root.Values.secrets -}}
{{- $own := dict "migrate" .migrateDatabaseUrl "publisher" .publisherDatabaseUrl "writer" "" -}}
{{- default .databaseUrl (get $own $.service) -}}
{{- end -}}
{{- end -}}

{{/* The Secret of a pool's own database for a service, as JSON {name, key}; name "" where it has none. */}}
{{- define "cognito-feed.poolDatabaseSecret" -}}
{{- $none := dict "name" "" "key" "" -}}
{{- $secret := default $none .pool.databaseSecret -}}
{{- if eq .service "migrate" -}}{{- $secret = default $secret .pool.migrateDatabaseSecret -}}{{- end -}}
{{- if eq .service "publisher" -}}{{- $secret = default $secret .pool.publisherDatabaseSecret -}}{{- end -}}
{{- dict "name" $secret.name "key" (default "DATABASE_URL" $secret.key) | toJson -}}
{{- end -}}

{{/* What this chart's own Secret of a service holds, as JSON. */}}
{{- define "cognito-feed.made" -}}
{{- $made := dict -}}
{{- with .root.Values.secrets -}}
{{- if eq $.service "poller" -}}
{{- $made = dict "REDIS_URL" .redisUrl "REFRESH_TOKEN" .refreshToken "AWS_ACCESS_KEY_ID" .awsAccessKeyId "AWS_SECRET_ACCESS_KEY" .awsSecretAccessKey -}}
{{- else -}}
{{- $made = dict "DATABASE_URL" (include "cognito-feed.madeDatabaseUrl" $) -}}
{{- if eq $.service "writer" -}}{{- $made = merge $made (dict "REDIS_URL" .redisUrl) -}}{{- end -}}
{{- if eq $.service "publisher" -}}{{- $made = merge $made (dict "WEBHOOK_URL" .webhookUrl "WEBHOOK_SECRET" .webhookSecret) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $given := dict -}}
{{- range $key, $text := $made -}}{{- if $text -}}{{- $_ := set $given $key $text -}}{{- end -}}{{- end -}}
{{- $given | toJson -}}
{{- end -}}

{{/* One environment variable out of a Secret: (dict "name" … "secret" {name, key} "optional" false). */}}
{{- define "cognito-feed.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end -}}
