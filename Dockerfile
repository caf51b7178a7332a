# The tool with what a Ray cluster and PostgreSQL need: for compose.yaml, and for Kubernetes (docs/cluster.md).
FROM python:3.11-slim

# KubeRay's health checks call wget, and ask Ray's dashboard.
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/fmnist-search
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e '.[cluster,postgresql]' 'ray[default]'
