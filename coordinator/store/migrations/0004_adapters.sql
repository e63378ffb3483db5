-- Adapters on models, engines that are servers, and the probes that engines are checked with.
UPDATE units SET work = json_set(work, '$.lora', json('[]')) WHERE kind IN ('accuracy', 'reference_logits', 'timing');
UPDATE units SET work = json_set(work, '$.engine', '', '$.token_probes_sha256', '') WHERE kind = 'accuracy';
UPDATE leases SET provenance = json_set(provenance, '$.lora', '') WHERE provenance <> '';
