{{/* The pod template of a service or of the migrate job: (dict "root" $ "service" "poller"). */}}
{{- define "cognito-feed.pod" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
metadata:
  labels:
    {{- include "cognito-feed.labels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- include "cognito-feed.checksums" . | nindent 4 }}
    {{- with merge (dict) $own.podAnnotations $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "cognito-feed.serviceAccount" . }}
  # It never asks the API server anything. IRSA and Pod Identity bring their own token.
  automountServiceAccountToken: false
  # A Service named "http" would otherwise set HTTP_PORT.
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- if eq .service "migrate" }}
  restartPolicy: Never
  {{- end }}
  containers:
    - name: {{ .service }}
      image: {{ include "cognito-feed.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ .service }}{{ if and (eq .service "migrate") $own.roles }}, --roles{{ end }}]
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      env:
        {{- include "cognito-feed.env" . | nindent 8 }}
      {{- if ne .service "migrate" }}
      ports:
        - {name: http, containerPort: {{ $values.http.port }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml $values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml $values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        {{- toYaml $values.probes.readiness | nindent 8 }}
      {{- end }}
      {{- with $own.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "cognito-feed.volumeMounts" . | nindent 8 }}
  volumes:
    {{- include "cognito-feed.volumes" . | nindent 4 }}
  {{- with default $values.nodeSelector $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with default $values.tolerations $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with default $values.affinity $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (ne .service "migrate") $values.topologySpread }}
  topologySpreadConstraints:
    {{- range $values.topologySpread }}
    - {{- toYaml . | nindent 6 }}
      labelSelector:
        matchLabels:
          {{- include "cognito-feed.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* What each service is told, and no more: the poller of no database, the writer of no AWS key, the publisher of no Redis. */}}
{{- define "cognito-feed.env" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
- {name: COGNITO_FEED_CONFIG, value: /etc/cognito-feed/config/config.yaml}
{{- if ne .service "migrate" }}
- {name: HTTP_HOST, value: {{ $values.http.host | quote }}}
- {name: HTTP_PORT, value: {{ $values.http.port | quote }}}
{{- end }}
{{- if has .service (list "poller" "writer") }}
{{ include "cognito-feed.secretEnv" (dict "name" "REDIS_URL" "secret" (include "cognito-feed.redisSecret" . | fromJson)) }}
{{- if or $values.redis.ca.configMap $values.redis.ca.secret }}
- {name: REDIS_CA, value: /etc/cognito-feed/redis-ca/ca.crt}
{{- end }}
{{- end }}
{{- if ne .service "poller" }}
{{- $secret := include "cognito-feed.databaseSecret" . | fromJson }}
{{- if $secret.name }}
{{ include "cognito-feed.secretEnv" (dict "name" "DATABASE_URL" "secret" $secret) }}
{{- end }}
{{- end }}
{{- if has .service (list "poller" "publisher") }}
{{- $aws := $own.awsSecret.name }}
{{- if and (eq .service "poller") (not $aws) $values.secrets.create $values.secrets.awsAccessKeyId }}
{{- $aws = include "cognito-feed.name" . }}
{{- end }}
{{- if $aws }}
{{ include "cognito-feed.secretEnv" (dict "name" "AWS_ACCESS_KEY_ID" "secret" (dict "name" $aws "key" "AWS_ACCESS_KEY_ID")) }}
{{ include "cognito-feed.secretEnv" (dict "name" "AWS_SECRET_ACCESS_KEY" "secret" (dict "name" $aws "key" "AWS_SECRET_ACCESS_KEY")) }}
{{ include "cognito-feed.secretEnv" (dict "name" "AWS_SESSION_TOKEN" "secret" (dict "name" $aws "key" "AWS_SESSION_TOKEN") "optional" true) }}
{{- end }}
{{- end }}
{{- if eq .service "poller" }}
{{- $refresh := $own.refreshSecret }}
{{- if and (not $refresh.name) $values.secrets.create $values.secrets.refreshToken }}
{{- $refresh = dict "name" (include "cognito-feed.name" .) "key" "REFRESH_TOKEN" }}
{{- end }}
{{- if $refresh.name }}
{{ include "cognito-feed.secretEnv" (dict "name" "REFRESH_TOKEN" "secret" $refresh) }}
{{- end }}
{{- end }}
{{- if eq .service "publisher" }}
{{- $webhook := $own.webhookSecret.name }}
{{- if and (not $webhook) $values.secrets.create $values.secrets.webhookUrl }}
{{- $webhook = include "cognito-feed.name" . }}
{{- end }}
{{- if $webhook }}
{{ include "cognito-feed.secretEnv" (dict "name" "WEBHOOK_URL" "secret" (dict "name" $webhook "key" "WEBHOOK_URL")) }}
{{ include "cognito-feed.secretEnv" (dict "name" "WEBHOOK_SECRET" "secret" (dict "name" $webhook "key" "WEBHOOK_SECRET")) }}
{{ include "cognito-feed.secretEnv" (dict "name" "WEBHOOK_SECRET_PREVIOUS" "secret" (dict "name" $webhook "key" "WEBHOOK_SECRET_PREVIOUS") "optional" true) }}
{{- end }}
{{- end }}
{{- with concat $values.extraEnv $own.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
