-- What the KV cache held is an axis of its own: rows that differ in it are never averaged together.
ALTER TABLE units ADD COLUMN kv TEXT NOT NULL DEFAULT 'f32';
UPDATE units SET kv = '' WHERE kind = 'quantize';
UPDATE units SET work = json_set(work, '$.kv', 'f32') WHERE kind IN ('accuracy', 'timing');
UPDATE leases SET provenance = json_set(provenance, '$.kv', 'f32') WHERE provenance <> '';

DROP VIEW timing_summary;
DROP VIEW results_summary;
DROP VIEW results_per_item;

CREATE VIEW results_per_item AS
SELECT u.run_id, u.kind, u.purpose, u.model, u.format, u.activations, u.kv, u.suite, s.area, r.item_id, r.item_index,
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
SELECT run_id, model, format, activations, kv, suite, area, count(*) AS items, count(error_code) AS errors,
       avg(accuracy) AS accuracy, sum(nll) AS nll_sum, sum(tokens) AS tokens
FROM results_per_item
WHERE kind = 'accuracy' AND purpose = 'measure'
GROUP BY run_id, model, format, activations, kv, suite, area;

CREATE VIEW timing_summary AS
SELECT run_id, model, format, activations, kv, host_id, count(*) AS repetitions,
       avg(prefill_tokens_per_s) AS prefill_tokens_per_s, avg(decode_tokens_per_s) AS decode_tokens_per_s,
       max(peak_memory_bytes) AS peak_memory_bytes
FROM results_per_item
WHERE kind = 'timing' AND error_code IS NULL
GROUP BY run_id, model, format, activations, kv, host_id;
