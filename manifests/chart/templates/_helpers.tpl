{{/* The labels of an object or pod. Takes a dict: top (the root context), name, component. */}}
{{- define "weft.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .top.Release.Name }}
app.kubernetes.io/version: {{ .top.Chart.AppVersion }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/managed-by: {{ .top.Release.Service }}
{{- with .top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weft.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}
{{- end }}

{{/* Annotations of a pod. Takes a dict: top, own (the part's podAnnotations). */}}
{{- define "weft.podAnnotations" -}}
{{- if .top.Values.prometheus.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "15020"
prometheus.io/path: /metrics
{{- end }}
{{- with .own }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weft.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "weft.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Variables of Node itself. Takes the share of the memory limit that a heap may take. */}}
{{- define "weft.nodeEnv" -}}
- name: NODE_COMPILE_CACHE
  value: /app/.compiled
- name: NODE_COMPILE_CACHE_PORTABLE
  value: "1"
- name: NODE_OPTIONS
  value: --max-old-space-size-percentage={{ . }} --max-semi-space-size=8
{{- end }}

{{/* A flag as a variable, unless it has the program's own default. Takes a list: variable, value, default. */}}
{{- define "weft.flag" -}}
{{- if ne (toString (index . 1)) (toString (index . 2)) }}
- name: {{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}
{{- end }}
