{{- define "cognito-feed.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of one service: (dict "root" $ "service" "poller"). 50 + 1 + 9 characters are below the 63 of a label. */}}
{{- define "cognito-feed.name" -}}
{{- printf "%s-%s" (include "cognito-feed.fullname" .root) .service -}}
{{- end -}}

{{- define "cognito-feed.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end -}}

{{- define "cognito-feed.labels" -}}
{{ include "cognito-feed.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cognito-feed.serviceAccount" -}}
{{- $account := (get .root.Values .service).serviceAccount -}}
{{- if $account.create -}}
{{- default (include "cognito-feed.name" .) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "cognito-feed.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The services that are on, separated by blanks. */}}
{{- define "cognito-feed.services" -}}
poller writer{{ if .Values.publisher.enabled }} publisher{{ end }}
{{- end -}}

{{/* What makes an object part of the migrate hook: it must be there before everything else. `weight` orders them. */}}
{{- define "cognito-feed.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
