{{- define "cognito-feed.deployment" -}}
{{- $own := get .root.Values .service -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "cognito-feed.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "cognito-feed.labels" . | nindent 4 }}
spec:
  replicas: {{ $own.replicas }}
  revisionHistoryLimit: 3
  strategy:
    {{- toYaml .root.Values.updateStrategy | nindent 4 }}
  selector:
    matchLabels:
      {{- include "cognito-feed.selector" . | nindent 6 }}
  template:
    {{- include "cognito-feed.pod" . | nindent 4 }}
{{- end -}}
