# {{ key }}: {{ module }}:{{ callable }}
{% if let Some(rest) = rest %}from {{ module }} import {{ first }}
application = {{ first }}.{{ rest }}
{% else if first == "application" %}from {{ module }} import application
{% else %}from {{ module }} import {{ first }} as application
{% endif %}
