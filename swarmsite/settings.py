"""The one settings file. Everything comes from the environment; with nothing set it works on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django_stubs_ext

from swarmsite import environment as env

django_stubs_ext.monkeypatch()  # generic ModelAdmin and ModelForm exist at run time too

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.data_directory(BASE_DIR / "data")
VERSION = "0.1.0"

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.secret_key(DATA_DIR)
ALLOWED_HOSTS = list(env.words("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")))
PUBLIC_URL = env.url("SWARM_PUBLIC_URL")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "orchestration",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "orchestration.web.headers.AsynchronousFiles",
    "orchestration.web.headers.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "swarmsite.urls"
ASGI_APPLICATION = "swarmsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.database(DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "orchestration.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "board"
LOGOUT_REDIRECT_URL = "sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 24 * 60 * 60

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

LANGUAGE_CODE = "en-gb"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from the source tree: no collect step stands between a change and the page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss"))
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "dispatch"
CELERY_TASK_ROUTES = {
    "orchestration.plan": {"queue": "plan"},
    "orchestration.subplan": {"queue": "plan"},
    "orchestration.dispatch": {"queue": "dispatch"},
    "orchestration.finish": {"queue": "check"},
    "orchestration.maintain": {"queue": "check"},
    "orchestration.resolve": {"queue": "plan"},
    "orchestration.forecast": {"queue": "plan"},
    "orchestration.gate": {"queue": "check"},
    "orchestration.execute": {"queue": "execute"},
    "orchestration.merge": {"queue": "merge"},
    "orchestration.tick": {"queue": "dispatch"},
}
# Celery closes connections after each task: right for a pool, which gets them back; SQLite's are cheap to keep.
CELERY_DB_REUSE_MAX = 1_000_000_000 if DATABASES["default"]["ENGINE"].endswith("sqlite3") else None
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE = {"tick": {"task": "orchestration.tick", "schedule": 5.0}}

# What the engine may use. Everything here is a count, a second or a word, never a secret.
SWARM: dict[str, Any] = {
    "SANDBOX": env.choice("SWARM_SANDBOX", "auto", ("auto", "bubblewrap", "container", "none")),
    "ALLOWED_HOSTS_OUT": env.words("SWARM_ALLOWED_HOSTS_OUT"),
    "LOCAL_REPOSITORIES": env.words("SWARM_LOCAL_REPOSITORIES"),
    "GITHUB_API_URL": env.url("GITHUB_API_URL", "https://api.github.com"),
    "GITHUB_APP_ID": env.text("GITHUB_APP_ID"),
    "MAX_AGENTS": env.integer("SWARM_MAX_AGENTS", 100, low=1, high=1000),
    "LEASE_SECONDS": env.integer("SWARM_LEASE_SECONDS", 30, low=3, high=3600),
    "OPENAI_ENDPOINT": env.openai_endpoint(),
    "ANTHROPIC_ENDPOINT": env.anthropic_endpoint(),
    "CACHE_TTL": env.integer("SWARM_CACHE_TTL", 24 * 3600, low=0, high=10 * 365 * 24 * 3600),
    "CACHE_ENTRIES": env.integer("SWARM_CACHE_ENTRIES", 1000, low=1, high=1_000_000),
    "CACHE_MEGABYTES": env.integer("SWARM_CACHE_MEGABYTES", 100, low=1, high=100_000),
    "QUESTION_TTL": env.integer("SWARM_QUESTION_TTL", 24 * 3600, low=1, high=366 * 24 * 3600),
    "RESULT_TTL": env.integer("SWARM_RESULT_TTL", 7 * 24 * 3600, low=60, high=10 * 365 * 24 * 3600),
    "ARTIFACT_DAYS": env.integer("SWARM_ARTIFACT_DAYS", 0, low=0, high=3660),
    "TICK_SECONDS": env.integer("SWARM_TICK_SECONDS", 2, low=1, high=600),
    "FORECAST_SECONDS": env.integer("SWARM_FORECAST_SECONDS", 10, low=0, high=3600),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"secrets": {"()": "orchestration.adapters.secrets.LogFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["secrets"]}},
    "root": {
        "handlers": ["stderr"],
        "level": env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper(),
    },
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "celery": {"level": "WARNING"},
        "kombu": {"level": "ERROR"},
        "daphne": {"level": "WARNING"},
    },
}
