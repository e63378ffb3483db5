// Every field of every message with its limits: the one description that encoding and decoding share.
// Private to contract/ (messages_*.cc).
#pragma once

#include "contract/job_spec_fields.h"
#include "contract/json_fields.h"
#include "contract/messages.h"

#include <fmt/format.h>

#include <type_traits>

namespace quantfleet {

namespace limits {
inline constexpr std::uint64_t kItemsMax = 100'000'000;
inline constexpr std::uint64_t kTokensMax = 100'000'000;
inline constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 50;  // a petabyte
inline constexpr std::uint64_t kSequenceMax = std::uint64_t{1} << 62;
inline constexpr std::size_t kRowsMax = 4096;
inline constexpr double kSecondsMax = 1e9;
inline constexpr double kMillisecondsMax = 1e12;
}  // namespace limits

template <class Io, class Tag>
void id_field(Io& io, const char* key, Id<Tag>& id) {
  io.text(key, id.value, fields_io::kIdBytes, 1);
}

template <class Io>
void fields(Io& io, Error& error) {
  if constexpr (Io::kReads) {
    std::string name;
    io.text("code", name, fields_io::kWord);
    if (!io.failed() && !code_from_name(name, error.code))
      io.fail("code", Code::kUnknownName, fmt::format("no error code is called \"{}\"", name.substr(0, 60)));
  } else {
    io.text("code", std::string(name_of(error.code)), fields_io::kWord);
  }
  io.text("detail", error.detail, fields_io::kSentence);
}

template <class Io>
void fields(Io& io, Gpu& gpu) {
  io.text("name", gpu.name, fields_io::kWord);
  io.integer("memory_bytes", gpu.memory_bytes, 0, limits::kBytesMax);
}

template <class Io>
void fields(Io& io, Device& device) {
  io.text("host_id", device.host_id, fields_io::kWord, 1);
  io.text("hostname", device.hostname, fields_io::kWord);
  io.text("architecture", device.architecture, fields_io::kWord);
  io.text("cpu_model", device.cpu_model, fields_io::kWord);
  io.integer("cores", device.cores, 0, 1'000'000);
  io.integer("memory_bytes", device.memory_bytes, 0, limits::kBytesMax);
  io.texts("kernels", device.kernels, 64, fields_io::kWord);
  io.list("gpus", device.gpus, 256);
  io.text("operating_system", device.operating_system, fields_io::kWord);
}

template <class Io>
void fields(Io& io, ItemResult& row) {
  id_field(io, "item", row.item);
  io.integer("index", row.index, 0, limits::kItemsMax);
  io.number_map("scores", row.scores, 256);
  io.series_map("series", row.series, 64, 4u << 20);
  io.integer("prompt_tokens", row.prompt_tokens, 0, limits::kTokensMax);
  io.integer("generated_tokens", row.generated_tokens, 0, limits::kTokensMax);
  io.number("first_token_ms", row.first_token_ms, 0, limits::kMillisecondsMax);
  io.number("total_ms", row.total_ms, 0, limits::kMillisecondsMax);
  io.bytes("output", row.output, fields_io::kOutput);
  io.text("group", row.group, fields_io::kWord);
  io.bytes("prompt", row.prompt, fields_io::kOutput);
  io.integers("prompt_token_ids", row.prompt_token_ids, 1u << 20, 1 << 30);
  io.hash("request_sha256", row.request_sha256, true);
  io.bytes("response", row.response, fields_io::kOutput);
  io.text("logits_digest", row.logits_digest, fields_io::kWord);
  io.optional("error", row.error);
}

template <class Io>
void fields(Io& io, Provenance& p) {
  io.text("program_version", p.program_version, fields_io::kWord);
  io.hash("model_sha256", p.model_sha256, true);
  io.text("format", p.format, fields_io::kWord);
  io.text("activations", p.activations, fields_io::kWord);
  io.text("kv", p.kv, fields_io::kWord);
  io.text("lora", p.lora, 1024);
  io.text("engine", p.engine, fields_io::kWord);
  io.text("kernels", p.kernels, fields_io::kWord);
  io.text("suite", p.suite, fields_io::kWord);
  io.text("suite_version", p.suite_version, fields_io::kWord);
  io.hash("suite_sha256", p.suite_sha256, true);
  io.text("host_id", p.host_id, fields_io::kWord);
  io.integer("threads", p.threads, 0, 1'000'000);
  io.integer("seed", p.seed);
  io.flag("ran_alone", p.ran_alone);
}

template <class Io>
void fields(Io& io, TelemetrySeries& series) {
  io.text("name", series.name, fields_io::kWord, 1);
  io.text("source", series.source, fields_io::kWord);
  io.number("coverage", series.coverage, 0, 1);
  io.number("mean", series.mean);
  io.number("min", series.min);
  io.number("max", series.max);
  io.number("total", series.total);
  io.text("reason", series.reason, fields_io::kSentence);
}

template <class Io>
void fields(Io& io, Artifact& artifact) {
  io.hash("sha256", artifact.sha256);
  io.integer("size_bytes", artifact.size_bytes, 0, limits::kBytesMax);
  io.text("kind", artifact.kind, fields_io::kWord);
  io.number_map("facts", artifact.facts, 256);
}

// ---- work ---------------------------------------------------------------------------------------------------------------

template <class Io>
void item_range(Io& io, int& begin, int& end) {
  io.integer("item_begin", begin, 0, limits::kItemsMax);
  io.integer("item_end", end, 0, limits::kItemsMax);
  if constexpr (Io::kReads) {
    if (!io.failed() && begin > end) io.fail("item_end", Code::kBadValue, "is below item_begin");
  }
}

template <class Io>
void fields(Io& io, LoraUse& use) {
  io.hash("sha256", use.sha256);
  io.number("scale", use.scale);
}

template <class Io>
void fields(Io& io, QuantizeWork& work) {
  io.hash("model_sha256", work.model_sha256);
  io.text("format", work.format, fields_io::kWord, 1);
  io.optional("recipe", work.recipe);
}

template <class Io>
void fields(Io& io, ReferenceLogitsWork& work) {
  io.hash("model_sha256", work.model_sha256);
  io.text("suite", work.suite, fields_io::kWord, 1);
  item_range(io, work.item_begin, work.item_end);
  io.text("activations", work.activations, fields_io::kWord);
  io.hash("suite_bundle_sha256", work.suite_bundle_sha256, true);
  io.list("lora", work.lora, 8);
}

template <class Io>
void fields(Io& io, AccuracyWork& work) {
  io.hash("model_sha256", work.model_sha256);
  io.text("format", work.format, fields_io::kWord, 1);
  io.text("activations", work.activations, fields_io::kWord);
  io.text("kv", work.kv, fields_io::kWord);
  io.text("suite", work.suite, fields_io::kWord, 1);
  item_range(io, work.item_begin, work.item_end);
  io.integers("items", work.items, 1'000'000, static_cast<int>(limits::kItemsMax));
  io.integer("choice_seed", work.choice_seed, 0, limits::kSequenceMax);
  io.hash("reference_logits_sha256", work.reference_logits_sha256, true);
  io.number("item_seconds", work.item_seconds, 0, limits::kSecondsMax);
  io.hash("suite_bundle_sha256", work.suite_bundle_sha256, true);
  io.flag("needs_sandbox", work.needs_sandbox);
  io.list("lora", work.lora, 8);
  io.text("engine", work.engine, fields_io::kWord);
  io.hash("token_probes_sha256", work.token_probes_sha256, true);
}

template <class Io>
void fields(Io& io, TimingWork& work) {
  io.hash("model_sha256", work.model_sha256);
  io.text("format", work.format, fields_io::kWord, 1);
  io.text("activations", work.activations, fields_io::kWord);
  io.text("kv", work.kv, fields_io::kWord);
  io.object("timing", work.timing);
  io.list("lora", work.lora, 8);
}

inline constexpr const char* tag_of(const QuantizeWork*) { return "quantize"; }
inline constexpr const char* tag_of(const ReferenceLogitsWork*) { return "reference_logits"; }
inline constexpr const char* tag_of(const AccuracyWork*) { return "accuracy"; }
inline constexpr const char* tag_of(const TimingWork*) { return "timing"; }

// ---- messages -----------------------------------------------------------------------------------------------------------

template <class Io>
void fields(Io& io, Register& message) {
  io.integer("protocol_version", message.protocol_version, 0, 1'000'000);
  io.text("name", message.name, fields_io::kWord);
  io.text_map("labels", message.labels, 64, fields_io::kWord);
  io.text("program_version", message.program_version, fields_io::kWord);
  io.object("device", message.device);
  io.texts("formats", message.formats, 512, fields_io::kWord);
  io.texts("engines", message.engines, 64, fields_io::kWord);
  io.list("suites", message.suites, 4096);
  io.text_map("selftest", message.selftest, 4096, fields_io::kWord);
  io.texts("artifacts", message.artifacts, 65536, 64);
}

template <class Io>
void fields(Io& io, RunningLease& lease) {
  id_field(io, "unit", lease.unit);
  io.integer("epoch", lease.epoch, 0, limits::kSequenceMax);
  io.integer("items_done", lease.items_done, 0, limits::kItemsMax);
}

template <class Io>
void fields(Io& io, Heartbeat& message) {
  io.optional("running", message.running);
  io.flag("draining", message.draining);
}

template <class Io>
void fields(Io& io, ResultBatch& message) {
  id_field(io, "unit", message.unit);
  io.integer("epoch", message.epoch, 0, limits::kSequenceMax);
  io.integer("sequence", message.sequence, 0, limits::kSequenceMax);
  io.list("rows", message.rows, limits::kRowsMax);
}

template <class Io>
void fields(Io& io, UnitFinished& message) {
  id_field(io, "unit", message.unit);
  io.integer("epoch", message.epoch, 0, limits::kSequenceMax);
  io.integer("sequence", message.sequence, 0, limits::kSequenceMax);
  io.optional("error", message.error);
  io.flag("retryable", message.retryable);
  io.optional("artifact", message.artifact);
  io.object("provenance", message.provenance);
  io.list("telemetry", message.telemetry, 256);
}

template <class Io>
void fields(Io& io, LeaseRefused& message) {
  id_field(io, "unit", message.unit);
  io.integer("epoch", message.epoch, 0, limits::kSequenceMax);
  io.text("reason", message.reason, fields_io::kSentence);
}

template <class Io>
void fields(Io&, Goodbye&) {}

template <class Io>
void fields(Io& io, Registered& message) {
  io.number("heartbeat_seconds", message.heartbeat_seconds, 0.001, 3600);
  io.text("artifact_endpoint", message.artifact_endpoint, fields_io::kWord);
}

template <class Io>
void fields(Io& io, Acknowledge& message) {
  io.integer("sequence", message.sequence, 0, limits::kSequenceMax);
}

template <class Io>
void fields(Io& io, CancelLease& message) {
  id_field(io, "unit", message.unit);
  io.integer("epoch", message.epoch, 0, limits::kSequenceMax);
  io.text("reason", message.reason, fields_io::kSentence);
}

template <class Io>
void fields(Io& io, Refused& message) {
  io.object("error", message.error);
}

// A variant is written as the fields of its alternative plus `key: tag`; `tag_of` names the alternatives.
template <class Io, class Variant>
void variant_fields(Io& io, const char* key, Variant& value) {
  if constexpr (Io::kReads) {
    std::string tag;
    io.text(key, tag, fields_io::kWord);
    if (io.failed()) return;
    bool known = false;
    const auto try_one = [&]<class T>(T alternative) {
      if (known || tag != tag_of(static_cast<const T*>(nullptr))) return;
      known = true;
      fields(io, alternative);
      value = std::move(alternative);
    };
    [&]<class... T>(const std::variant<T...>*) { (try_one(T{}), ...); }(static_cast<const Variant*>(nullptr));
    if (!known) io.fail(key, Code::kUnknownName, fmt::format("nothing is called \"{}\" here", tag.substr(0, 60)));
  } else {
    std::visit(
        [&]<class T>(T& alternative) {
          io.text(key, tag_of(static_cast<const T*>(nullptr)), fields_io::kWord);
          fields(io, alternative);
        },
        value);
  }
}

template <class Io>
void fields(Io& io, Work& work) {
  variant_fields(io, "kind", work);
}

template <class Io>
void fields(Io& io, GrantLease& message) {
  id_field(io, "unit", message.unit);
  io.integer("epoch", message.epoch, 0, limits::kSequenceMax);
  io.number("expires_in_seconds", message.expires_in_seconds, 0, limits::kSecondsMax);
  io.integer("seed", message.seed);
  io.object("work", message.work);
}

inline constexpr const char* tag_of(const Register*) { return "register"; }
inline constexpr const char* tag_of(const Heartbeat*) { return "heartbeat"; }
inline constexpr const char* tag_of(const ResultBatch*) { return "result_batch"; }
inline constexpr const char* tag_of(const UnitFinished*) { return "unit_finished"; }
inline constexpr const char* tag_of(const LeaseRefused*) { return "lease_refused"; }
inline constexpr const char* tag_of(const Goodbye*) { return "goodbye"; }
inline constexpr const char* tag_of(const Registered*) { return "registered"; }
inline constexpr const char* tag_of(const GrantLease*) { return "grant_lease"; }
inline constexpr const char* tag_of(const Acknowledge*) { return "acknowledge"; }
inline constexpr const char* tag_of(const CancelLease*) { return "cancel_lease"; }
inline constexpr const char* tag_of(const Refused*) { return "refused"; }

template <class Variant>
std::string encode_variant(const Variant& message) {
  fields_io::Json json = fields_io::Json::object();
  fields_io::FieldWriter writer(json);
  variant_fields(writer, "type", const_cast<Variant&>(message));
  return fields_io::dump(json);
}

template <class Variant>
Result<Variant> decode_variant(std::string_view bytes, std::size_t bytes_max) {
  fields_io::Json json;
  if (const Status parsed = fields_io::parse_json(bytes, bytes_max, json); !parsed) return parsed.error();
  std::optional<Error> error;
  Variant message;
  fields_io::FieldReader reader(json, "", error);
  variant_fields(reader, "type", message);
  reader.finish();
  if (error) return *error;
  return message;
}

template <class T>
Result<T> decode_object(std::string_view bytes) {
  fields_io::Json json;
  if (const Status parsed = fields_io::parse_json(bytes, kMessageBytesMax, json); !parsed) return parsed.error();
  return fields_io::from_json<T>(json);
}

}  // namespace quantfleet
