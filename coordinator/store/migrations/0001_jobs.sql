-- The results database. The invariants live here: a lease belongs to exactly one attempt of one unit, a row to exactly one
-- item of one unit, and no state exists that the code does not know. Times are seconds since 1970 UTC.
CREATE TABLE runs (
  run_id       TEXT PRIMARY KEY CHECK (length(run_id) BETWEEN 1 AND 128),
  name         TEXT NOT NULL,
  plan         TEXT NOT NULL CHECK (json_valid(plan)),
  plan_sha256  TEXT NOT NULL CHECK (length(plan_sha256) = 64),
  submitted_at REAL NOT NULL,
  cancelled    INTEGER NOT NULL DEFAULT 0 CHECK (cancelled IN (0, 1))
) STRICT;

CREATE TABLE run_suites (
  run_id   TEXT NOT NULL REFERENCES runs,
  position INTEGER NOT NULL,
  name     TEXT NOT NULL,
  version  TEXT NOT NULL,
  sha256   TEXT NOT NULL CHECK (length(sha256) = 64),
  area     TEXT NOT NULL,
  kind     TEXT NOT NULL,
  items    INTEGER NOT NULL CHECK (items >= 0),
  chance   REAL NOT NULL CHECK (chance BETWEEN 0 AND 1),
  not_runnable TEXT NOT NULL,
  PRIMARY KEY (run_id, position),
  UNIQUE (run_id, name)
) STRICT;

CREATE TABLE agents (
  agent_id        TEXT PRIMARY KEY,
  name            TEXT NOT NULL,
  host_id         TEXT NOT NULL,
  hostname        TEXT NOT NULL,
  cpu_model       TEXT NOT NULL,
  program_version TEXT NOT NULL,
  registration    TEXT NOT NULL CHECK (json_valid(registration)),
  last_seen_at    REAL NOT NULL
) STRICT;

CREATE TABLE artifacts (
  sha256     TEXT PRIMARY KEY CHECK (length(sha256) = 64),
  size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
  kind       TEXT NOT NULL,
  facts      TEXT NOT NULL CHECK (json_valid(facts)),
  created_at REAL NOT NULL
) STRICT;

CREATE TABLE units (
  unit_id        TEXT PRIMARY KEY CHECK (length(unit_id) BETWEEN 1 AND 1024),
  run_id         TEXT NOT NULL REFERENCES runs,
  ordinal        INTEGER NOT NULL CHECK (ordinal >= 0),
  kind           TEXT NOT NULL CHECK (kind IN ('quantize', 'reference_logits', 'accuracy', 'timing')),
  purpose        TEXT NOT NULL CHECK (purpose IN ('measure', 'spot_check')),
  model          TEXT NOT NULL,
  format         TEXT NOT NULL,
  activations    TEXT NOT NULL,
  suite          TEXT NOT NULL,
  suite_sha256   TEXT NOT NULL,
  host_id        TEXT NOT NULL,
  work           TEXT NOT NULL CHECK (json_valid(work)),
  model_from     TEXT REFERENCES units DEFERRABLE INITIALLY DEFERRED,
  reference_from TEXT REFERENCES units DEFERRABLE INITIALLY DEFERRED,
  items          INTEGER NOT NULL CHECK (items >= 0),
  attempts_max   INTEGER NOT NULL CHECK (attempts_max > 0),
  lease_seconds  REAL NOT NULL CHECK (lease_seconds > 0),
  seed           INTEGER NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('blocked', 'queued', 'leased', 'done', 'failed', 'cancelled')),
  epoch          INTEGER NOT NULL CHECK (epoch >= 1),
  attempts       INTEGER NOT NULL CHECK (attempts BETWEEN 0 AND attempts_max),
  refusals       INTEGER NOT NULL DEFAULT 0,
  agent_id       TEXT REFERENCES agents,
  granted_at     REAL,
  expires_at     REAL,
  queued_since   REAL NOT NULL,
  finished_at    REAL,
  reason         TEXT NOT NULL DEFAULT '',
  artifact       TEXT REFERENCES artifacts,
  UNIQUE (run_id, ordinal),
  CHECK ((state = 'leased') = (agent_id IS NOT NULL)),
  CHECK ((state = 'leased') = (expires_at IS NOT NULL)),
  CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
  CHECK (state NOT IN ('failed', 'cancelled') OR reason <> ''),
  CHECK (artifact IS NULL OR state = 'done'),
  CHECK (state <> 'done' OR artifact IS NOT NULL OR kind NOT IN ('quantize', 'reference_logits'))
) STRICT;
CREATE INDEX units_by_state ON units (run_id, state);
CREATE UNIQUE INDEX one_lease_per_agent ON units (agent_id) WHERE agent_id IS NOT NULL;

-- One row per lease that was ever granted: an epoch of a unit is given out once.
CREATE TABLE leases (
  unit_id    TEXT NOT NULL REFERENCES units,
  epoch      INTEGER NOT NULL,
  agent_id   TEXT NOT NULL REFERENCES agents,
  host_id    TEXT NOT NULL,
  granted_at REAL NOT NULL,
  ended_at   REAL,
  outcome    TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'done', 'failed', 'expired', 'refused', 'cancelled')),
  provenance TEXT NOT NULL DEFAULT '' CHECK (provenance = '' OR json_valid(provenance)),
  PRIMARY KEY (unit_id, epoch),
  CHECK ((outcome = '') = (ended_at IS NULL))
) STRICT;

CREATE TABLE telemetry (
  unit_id  TEXT NOT NULL,
  epoch    INTEGER NOT NULL,
  name     TEXT NOT NULL,
  source   TEXT NOT NULL,
  coverage REAL NOT NULL CHECK (coverage BETWEEN 0 AND 1),
  mean     REAL NOT NULL,
  min      REAL NOT NULL,
  max      REAL NOT NULL,
  total    REAL NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY (unit_id, epoch, name, source),
  FOREIGN KEY (unit_id, epoch) REFERENCES leases
) STRICT;

-- One row per item: the primary key is the promise "exactly once".
CREATE TABLE results (
  unit_id          TEXT NOT NULL,
  item_id          TEXT NOT NULL CHECK (length(item_id) BETWEEN 1 AND 1024),
  item_index       INTEGER NOT NULL CHECK (item_index >= 0),
  epoch            INTEGER NOT NULL,
  scores           TEXT NOT NULL CHECK (json_valid(scores)),
  series           TEXT NOT NULL CHECK (json_valid(series)),
  prompt_tokens    INTEGER NOT NULL CHECK (prompt_tokens >= 0),
  generated_tokens INTEGER NOT NULL CHECK (generated_tokens >= 0),
  first_token_ms   REAL NOT NULL CHECK (first_token_ms >= 0),
  total_ms         REAL NOT NULL CHECK (total_ms >= 0),
  output           BLOB NOT NULL,
  logits_digest    TEXT NOT NULL,
  error_code       TEXT,
  error_detail     TEXT,
  PRIMARY KEY (unit_id, item_id),
  FOREIGN KEY (unit_id, epoch) REFERENCES leases,
  CHECK ((error_code IS NULL) = (error_detail IS NULL))
) STRICT, WITHOUT ROWID;

-- For Grafana and for people with a SQL prompt. They list and count; intervals are the reports' business.
CREATE VIEW results_per_item AS
SELECT u.run_id, u.kind, u.purpose, u.model, u.format, u.activations, u.suite, s.area, r.item_id, r.item_index,
       json_extract(r.scores, '$.accuracy') AS accuracy,
       json_extract(r.scores, '$.nll') AS nll,
       json_extract(r.scores, '$.tokens') AS tokens,
       json_extract(r.scores, '$.prefill_tokens_per_s') AS prefill_tokens_per_s,
       json_extract(r.scores, '$.decode_tokens_per_s') AS decode_tokens_per_s,
       json_extract(r.scores, '$.peak_memory_bytes') AS peak_memory_bytes,
       r.scores, r.prompt_tokens, r.generated_tokens, r.first_token_ms, r.total_ms, r.logits_digest,
       r.error_code, r.error_detail, a.name AS agent, l.host_id, l.granted_at, r.unit_id, r.epoch
FROM results r
JOIN units u USING (unit_id)
JOIN leases l ON l.unit_id = r.unit_id AND l.epoch = r.epoch
JOIN agents a ON a.agent_id = l.agent_id
LEFT JOIN run_suites s ON s.run_id = u.run_id AND s.name = u.suite;

CREATE VIEW results_summary AS
SELECT run_id, model, format, activations, suite, area, count(*) AS items, count(error_code) AS errors,
       avg(accuracy) AS accuracy, sum(nll) AS nll_sum, sum(tokens) AS tokens
FROM results_per_item
WHERE kind = 'accuracy' AND purpose = 'measure'
GROUP BY run_id, model, format, activations, suite, area;

CREATE VIEW timing_summary AS
SELECT run_id, model, format, activations, host_id, count(*) AS repetitions,
       avg(prefill_tokens_per_s) AS prefill_tokens_per_s, avg(decode_tokens_per_s) AS decode_tokens_per_s,
       max(peak_memory_bytes) AS peak_memory_bytes
FROM results_per_item
WHERE kind = 'timing' AND error_code IS NULL
GROUP BY run_id, model, format, activations, host_id;

CREATE VIEW run_progress AS
SELECT run_id, kind, state, count(*) AS units, sum(items) AS items
FROM units GROUP BY run_id, kind, state;
