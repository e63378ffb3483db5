-- What an item's scores can be computed again from: the prompt (once for all formats that read it) and the engine's answer.
CREATE TABLE prompts (
  sha256    TEXT PRIMARY KEY CHECK (length(sha256) = 64),
  text      BLOB NOT NULL,
  token_ids TEXT NOT NULL CHECK (json_valid(token_ids))
) STRICT, WITHOUT ROWID;

UPDATE units SET work = json_set(work, '$.choice_seed', 0, '$.suite_bundle_sha256', '', '$.needs_sandbox', json('false')) WHERE kind = 'accuracy';
UPDATE units SET work = json_set(work, '$.suite_bundle_sha256', '') WHERE kind = 'reference_logits';

ALTER TABLE results ADD COLUMN item_group TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN prompt TEXT REFERENCES prompts;
ALTER TABLE results ADD COLUMN request_sha256 TEXT NOT NULL DEFAULT '' CHECK (length(request_sha256) IN (0, 64));
ALTER TABLE results ADD COLUMN response BLOB NOT NULL DEFAULT x'';
