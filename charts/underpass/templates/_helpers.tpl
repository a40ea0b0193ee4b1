{{- define "underpass.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "underpass.labels" -}}
{{ include "underpass.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "underpass.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "underpass.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* A TOML value. Helm reads whole numbers as floats; strings and lists are spelled as in JSON. */ -}}
{{- define "underpass.value" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{- define "underpass.keys" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ include "underpass.value" $value }}
{{- end }}
{{- end }}

{{- /* The agent's configuration: what the values say, and what follows from the rest of the chart. */ -}}
{{- define "underpass.agent.toml" -}}
{{- $ovs := dict "db" (printf "unix:%s/db.sock" .Values.ovs.runDir) }}
{{- $names := list "underpass" }}
{{- if .Values.cni.replaceOvsCni }}{{ $names = append $names "ovs" }}{{ end }}
{{- $install := dict "bin_dir" .Values.cni.binDir "names" $names "conf_dir" .Values.cni.confDir }}
{{- if .Values.cni.primary.enabled }}
{{- $_ := set $install "conf" (printf "/etc/underpass/%s" .Values.cni.primary.fileName) }}
{{- end }}
{{- $kubernetes := dict "enabled" "true" "daemonset" (printf "%s/%s" .Release.Namespace (include "underpass.name" .)) "startup_taint" .Values.startupTaint "resources" .Values.nodeResources }}
{{- $sections := merge (dict "ovs" $ovs "install" $install "kubernetes" $kubernetes) (deepCopy .Values.config) }}
{{- range $section, $content := $sections }}
{{- if kindIs "slice" $content }}
{{- range $content }}
[[{{ $section }}]]
{{- include "underpass.keys" . }}
{{ end }}
{{- else }}
[{{ $section }}]
{{- include "underpass.keys" $content }}
{{ end }}
{{- end }}
{{- end }}
