"""The service on Railway with its volume and a bucket, for `railway config plan` and `railway config apply`.

The successor of railway.json, which Railway stops reading on 2026-12-01; never use both for one service. Neither is
needed: the Dockerfile, a volume at /data and variables do the same (docs/deployment/railway-persistent-volumes.md).
The source of the service is not named here, so whatever repository is connected in the dashboard stays.
"""

from __future__ import annotations

from railway_sdk import Project, RailwayContext, bucket, define_railway, preserve, project, service, volume

# What a person sets by hand in the dashboard, and `apply` leaves as it is.
BY_HAND = (
    "NESCORD_STATUS_TOKEN",
    "NESCORD_VAULT_GIT_URL",
    "NESCORD_VAULT_GIT_BRANCH",
    "NESCORD_VAULT_GIT_FOLDER",
    "NESCORD_VAULT_GIT_TOKEN",
    "NESCORD_VAULT_GIT_KEY",
    "NESCORD_BACKUP_RECIPIENT",
    "NESCORD_DISCORD_WEBHOOK",
    "NESCORD_LANG",
    "NESCORD_TZ",
    "DISCORD_TOKEN",
    "GEMINI_API_KEY",
)


@define_railway
def main(ctx: RailwayContext | None = None) -> Project:
    data = volume("nescord-data")
    backups = bucket("backups")
    nescord = service(
        "nescord",
        build={"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"},
        healthcheck="/healthz",
        healthcheckTimeout=300,
        replicas=1,
        deploy={
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": 10,
            "requiredMountPath": "/data",
            "overlapSeconds": 0,
            "drainingSeconds": 60,
            "sleepApplication": False,
        },
        volumeMounts={"/data": data},
        env={
            # Railway's volumes belong to root: started as root, nescord gives itself its own folder and then drops to
            # NESCORD_UID, which the image sets.
            "RAILWAY_RUN_UID": "0",
            # Railway fills in what stands in ${{ }}. Its buckets have their name in front of the host.
            "NESCORD_OFF_SITE": "s3://${{backups.BUCKET}}/nescord",
            "NESCORD_OFF_SITE_ENDPOINT": "https://${{backups.BUCKET}}.storage.railway.app",
            "AWS_ACCESS_KEY_ID": backups.env.ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": backups.env.SECRET_ACCESS_KEY,
            "AWS_REGION": backups.env.REGION,
            **{name: preserve() for name in BY_HAND},
        },
    )
    return project("nescord", resources=[data, backups, nescord])
