{{/*
What a service mounts, as JSON: a list of {name, mountPath, volume}. One list for mounts and volumes, so that they can't part.
*/}}
{{- define "cognito-feed.mounted" -}}
{{- $values := .root.Values -}}
{{- $service := .service -}}
{{- $config := dict "name" (include "cognito-feed.name" .) -}}
{{- $all := list
  (dict "name" "config" "mountPath" "/etc/cognito-feed/config" "volume" (dict "configMap" $config))
  (dict "name" "tmp" "mountPath" "/tmp" "volume" (dict "emptyDir" (dict "sizeLimit" "64Mi"))) -}}
{{- if has $service (list "poller" "writer") -}}
{{- $all = concat $all (include "cognito-feed.ca" (dict "name" "redis-ca" "ca" $values.redis.ca) | fromJsonArray) -}}
{{- end -}}
{{- if ne $service "poller" -}}
{{- $all = concat $all (include "cognito-feed.ca" (dict "name" "database-ca" "ca" $values.database.ca) | fromJsonArray) -}}
{{- range $i, $pool := $values.pools -}}
{{- $secret := include "cognito-feed.poolDatabaseSecret" (dict "service" $service "pool" $pool) | fromJson -}}
{{- if $secret.name -}}
{{- $volume := dict "secretName" $secret.name "items" (list (dict "key" $secret.key "path" "url")) -}}
{{- $all = append $all (dict "name" (printf "database-%d" $i) "mountPath" (printf "/etc/cognito-feed/databases/%d" $i) "volume" (dict "secret" $volume)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $service "publisher" -}}
{{- range $i, $webhook := $values.publisher.webhooks -}}
{{- $items := list
  (dict "key" (default "url" $webhook.secret.urlKey) "path" "url")
  (dict "key" (default "secret" $webhook.secret.secretKey) "path" "secret") -}}
{{- with $webhook.secret.secretPreviousKey -}}{{- $items = append $items (dict "key" . "path" "previous") -}}{{- end -}}
{{- $volume := dict "secretName" $webhook.secret.name "items" $items -}}
{{- $all = append $all (dict "name" (printf "webhook-%d" $i) "mountPath" (printf "/etc/cognito-feed/webhooks/%d" $i) "volume" (dict "secret" $volume)) -}}
{{- end -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}

{{- define "cognito-feed.ca" -}}
{{- $items := list (dict "key" .ca.key "path" "ca.crt") -}}
{{- $mount := dict "name" .name "mountPath" (printf "/etc/cognito-feed/%s" .name) -}}
{{- if .ca.configMap -}}
{{- list (merge $mount (dict "volume" (dict "configMap" (dict "name" .ca.configMap "items" $items)))) | toJson -}}
{{- else if .ca.secret -}}
{{- list (merge $mount (dict "volume" (dict "secret" (dict "secretName" .ca.secret "items" $items)))) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "cognito-feed.volumeMounts" -}}
{{- $mounts := list -}}
{{- range include "cognito-feed.mounted" . | fromJsonArray -}}
{{- $mount := omit . "volume" -}}
{{- if ne .name "tmp" -}}{{- $_ := set $mount "readOnly" true -}}{{- end -}}
{{- $mounts = append $mounts $mount -}}
{{- end -}}
{{- concat $mounts .root.Values.extraVolumeMounts | toYaml -}}
{{- end -}}

{{- define "cognito-feed.volumes" -}}
{{- $volumes := list -}}
{{- range include "cognito-feed.mounted" . | fromJsonArray -}}
{{- $volumes = append $volumes (merge (dict "name" .name) .volume) -}}
{{- end -}}
{{- concat $volumes .root.Values.extraVolumes | toYaml -}}
{{- end -}}
