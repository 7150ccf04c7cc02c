//! A stack with one of everything.

/// The full stack as YAML.
pub fn full(name: &str) -> String {
    full_with(name, "registry.sim/shop/api:1", "production", "LEVEL: info")
}

/// The full stack with another image, environment and variable.
pub fn full_with(name: &str, image: &str, environment: &str, variable: &str) -> String {
    format!(
        r#"
apiVersion: berth.dev/v1
kind: Stack
metadata: {{name: {name}, tenant: acme}}
spec:
  target: {{dokploy: main, project: shared, environment: {environment}, create: true}}
  apps:
    api:
      image: {image}
      port: 3000
      replicas: 2
      hosts:
        api.{name}.test: {{https: none}}
        www.{name}.test: {{path: /v1, https: none, stripPath: true}}
      volumes: {{"data-{{name}}": /data}}
      files: {{/etc/app.conf: {{content: "level = high\n"}}}}
      ports: {{"18080": 3000}}
      resources: {{memory: 256Mi, cpu: 0.5, reserve: {{memory: 128Mi, cpu: 0.25}}}}
      labels: {{team: shop}}
      env: {{NAME: "{{name}}", TOKEN: {{generate: {{bytes: 16}}}}, {variable}}}
      health: {{http: /up, every: 1s, within: 30s, cmd: [CMD, "true"]}}
    worker:
      image: registry.sim/shop/worker:1
      needs: [api]
      command: [node, worker.js]
      env: {{API: {{from: {{app: api, key: url}}}}}}
"#
    )
}
