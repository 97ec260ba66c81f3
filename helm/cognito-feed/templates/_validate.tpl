{{/* What the schema can't say: what is missing, and what must not be together. Every problem at once, before anything is rendered. */}}
{{- define "cognito-feed.validate" -}}
{{- $problems := list -}}
{{- if not .Values.image.repository -}}
{{- $problems = append $problems "image.repository is missing: the image that you built from the Dockerfile and pushed" -}}
{{- end -}}
{{- if not .Values.pools -}}
{{- $problems = append $problems "pools is empty: at least one {cognitoUserPoolId: …}" -}}
{{- end -}}
{{- $ids := list -}}
{{- range .Values.pools -}}
{{- if has .cognitoUserPoolId $ids -}}
{{- $problems = append $problems (printf "pools: %s stands there twice" .cognitoUserPoolId) -}}
{{- end -}}
{{- $ids = append $ids .cognitoUserPoolId -}}
{{- end -}}
{{- range $service := list "poller" "writer" -}}
{{- $secret := include "cognito-feed.redisSecret" (dict "root" $ "service" $service) | fromJson -}}
{{- if not $secret.name -}}
{{- $problems = append $problems (printf "%s has no REDIS_URL: set redis.secret.name, %s.redisSecret.name, or secrets.create with secrets.redisUrl" $service $service) -}}
{{- end -}}
{{- end -}}
{{- $database := list "writer" -}}
{{- if .Values.migrate.enabled -}}{{- $database = append $database "migrate" -}}{{- end -}}
{{- if .Values.publisher.enabled -}}{{- $database = append $database "publisher" -}}{{- end -}}
{{- range $service := $database -}}
{{- $secret := include "cognito-feed.databaseSecret" (dict "root" $ "service" $service) | fromJson -}}
{{- range $.Values.pools -}}
{{- $own := include "cognito-feed.poolDatabaseSecret" (dict "service" $service "pool" .) | fromJson -}}
{{- if not (or $secret.name $own.name) -}}
{{- $problems = append $problems (printf "%s has no DATABASE_URL for pool %s: set database.secret.name, %s.databaseSecret.name, its pool's databaseSecret, or secrets.create with secrets.databaseUrl" $service .cognitoUserPoolId $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.publisher.enabled -}}
{{- $target := or .Values.config.eventBusName .Values.publisher.webhookSecret.name .Values.publisher.webhooks (and .Values.secrets.create .Values.secrets.webhookUrl) -}}
{{- range .Values.pools -}}{{- $target = or $target .eventBusName -}}{{- end -}}
{{- if not $target -}}
{{- $problems = append $problems "publisher.enabled without a target: set config.eventBusName, publisher.webhookSecret.name or publisher.webhooks" -}}
{{- end -}}
{{- end -}}
{{- range $service, $forbidden := include "cognito-feed.notTheirs" . | fromJson -}}
{{- range concat $.Values.extraEnv (get $.Values $service).extraEnv -}}
{{- if has .name $forbidden -}}
{{- $problems = append $problems (printf "%s.extraEnv or extraEnv holds %s, which is not the %s's to know" $service .name $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.redis.ca.configMap .Values.redis.ca.secret -}}
{{- $problems = append $problems "redis.ca.configMap and redis.ca.secret are both set: one of them" -}}
{{- end -}}
{{- if and .Values.database.ca.configMap .Values.database.ca.secret -}}
{{- $problems = append $problems "database.ca.configMap and database.ca.secret are both set: one of them" -}}
{{- end -}}
{{- with $problems | uniq -}}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}

{{/* The credentials that a service must not be given by the back door. */}}
{{- define "cognito-feed.notTheirs" -}}
{{- $database := list "DATABASE_URL" "DATABASE_URL_FILE" "PGPASSWORD" -}}
{{- $aws := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" -}}
{{- dict "poller" $database "writer" $aws "migrate" $aws "publisher" (list "REDIS_URL" "REDIS_URL_FILE") | toJson -}}
{{- end -}}
