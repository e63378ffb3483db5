#include "reports/tables/export.h"

#include <fmt/format.h>

namespace quantfleet::reports {
namespace {

using nlohmann::ordered_json;

ordered_json number(const Measured& measured) { return measured.value ? ordered_json(*measured.value) : ordered_json(nullptr); }

ordered_json number(const std::optional<double>& value) { return value ? ordered_json(*value) : ordered_json(nullptr); }

void add_speed(ordered_json& object, const Speed* speed) {
  const Speed none;
  const Speed& s = speed ? *speed : none;
  object["prefill_tokens_per_s"] = number(s.prefill_tokens_per_s);
  object["decode_tokens_per_s"] = number(s.decode_tokens_per_s);
  object["first_token_ms_p50"] = number(s.first_token_ms_p50);
  object["first_token_ms_p95"] = number(s.first_token_ms_p95);
  object["peak_memory_bytes"] = number(s.peak_memory_bytes);
  object["energy_j_per_token"] = number(s.energy_j_per_token);
  object["energy_reason"] = s.energy_j_per_token.value ? "" : speed ? s.energy_j_per_token.reason : "not timed";
  object["kernels"] = s.kernels;
  object["ran_alone"] = s.ran_alone;
}

// The object of one (device, format, suite). Statistics per suite; accuracy is the lab's (see summary.h), speed the device's.
ordered_json suite_object(const RunSummary& summary, const FormatSummary& f, const Speed* speed, const SuiteScore& suite) {
  ordered_json object;
  object["run"] = summary.run;
  object["device"] = speed ? speed->device : "";
  object["model"] = f.model;
  object["format"] = f.format;
  object["activations"] = f.activations;
  object["kv"] = f.kv;
  object["suite"] = suite.suite.name;
  object["area"] = suite.suite.area;
  object["items"] = suite.items;
  object["errors"] = suite.errors;
  object["chance"] = suite.suite.chance;
  const bool answered = suite.accuracy.count > 0;
  object["accuracy"] = answered ? ordered_json(suite.accuracy.value) : ordered_json(nullptr);
  object["standard_error"] = answered ? ordered_json(suite.accuracy.standard_error) : ordered_json(nullptr);
  object["baseline"] = summary.baseline;
  const bool compared = suite.against_baseline.has_value();
  object["retention"] = compared ? number(suite.against_baseline->retention) : ordered_json(nullptr);
  const bool has_retention = compared && suite.against_baseline->retention;
  object["retention_low"] = has_retention ? ordered_json(suite.against_baseline->retention_interval.low) : ordered_json(nullptr);
  object["retention_high"] = has_retention ? ordered_json(suite.against_baseline->retention_interval.high) : ordered_json(nullptr);
  object["raw_ratio"] = compared && !suite.sampled ? ordered_json(suite.against_baseline->raw_ratio) : ordered_json(nullptr);
  object["verdict"] = name_of(suite.unanswered ? Verdict::kUnknown : f.is_baseline ? Verdict::kSame : suite.verdict);
  object["flips_lost"] = compared ? suite.against_baseline->lost : 0;
  object["flips_gained"] = compared ? suite.against_baseline->gained : 0;
  add_speed(object, speed);
  object["bits_per_weight"] = number(f.bits_per_weight);
  object["size_bytes"] = number(f.size_bytes);
  object["perplexity"] = number(f.perplexity);
  object["kl_divergence"] = number(f.kl_divergence);
  object["model_sha256"] = f.model_sha256;
  object["lora"] = f.lora;
  object["engine"] = f.engine;
  object["suite_sha256"] = suite.suite.sha256;
  object["suite_version"] = suite.suite.version;
  object["program_version"] = f.program_version;
  const auto shown = [](const Aggregate& one) {
    return ordered_json{{"value", one.value}, {"standard_error", one.standard_error ? ordered_json(*one.standard_error) : ordered_json(nullptr)}, {"items", one.items}};
  };
  object["aggregates"] = object["groups"] = object["texts"] = ordered_json::object();
  for (const Aggregate& one : suite.aggregates) object["aggregates"][one.name] = shown(one);
  for (const auto& [group, one] : suite.groups) object["groups"][group] = shown(one);
  for (const auto& [text, numbers] : f.texts) {
    ordered_json& of_text = object["texts"][text] = ordered_json::object();
    for (const Aggregate& one : numbers) of_text[one.name] = shown(one);
  }
  return object;
}

std::string csv_cell(const ordered_json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

ordered_json interval_json(const statistics::Interval& interval) { return ordered_json::array({interval.low, interval.high}); }

ordered_json estimate_json(const statistics::Estimate& e) { return {{"value", e.value}, {"standard_error", e.standard_error}, {"items", e.count}}; }

ordered_json estimate_json(const statistics::Estimate& e, const statistics::Interval& interval) {
  return {{"value", e.value}, {"standard_error", e.standard_error}, {"interval", interval_json(interval)}, {"items", e.count}};
}

}  // namespace

ordered_json results_json(const RunSummary& summary) {
  ordered_json array = ordered_json::array();
  for (const FormatSummary& f : summary.formats) {
    const std::size_t devices = std::max<std::size_t>(1, f.speeds.size());
    for (std::size_t d = 0; d < devices; ++d)
      for (const SuiteScore& suite : f.suites)
        array.push_back(suite_object(summary, f, d < f.speeds.size() ? &f.speeds[d] : nullptr, suite));
  }
  return array;
}

std::string results_csv(const RunSummary& summary) {
  ordered_json objects = results_json(summary);
  for (ordered_json& object : objects)  // a cell holds one value
    for (const char* nested : {"aggregates", "groups", "texts"}) object.erase(nested);
  std::string out;
  if (objects.empty()) return out;
  const auto line = [&out](const ordered_json& object, auto&& cell) {
    bool first = true;
    for (const auto& [key, value] : object.items()) {
      if (!first) out += ',';
      first = false;
      out += cell(key, value);
    }
    out += "\r\n";
  };
  line(objects.front(), [](const std::string& key, const ordered_json&) { return key; });
  for (const ordered_json& object : objects)
    line(object, [](const std::string&, const ordered_json& value) { return csv_cell(value); });
  return out;
}

ordered_json summary_json(const RunSummary& summary) {
  ordered_json document;
  document["run"] = summary.run;
  document["name"] = summary.name;
  document["status"] = summary.status;
  document["created"] = summary.created;
  document["baseline"] = summary.baseline;
  document["digests_compared"] = summary.digests_compared;
  document["digests_different"] = summary.mismatches.size();
  document["notes"] = summary.notes;
  ordered_json& formats = document["formats"] = ordered_json::array();
  for (const FormatSummary& f : summary.formats) {
    ordered_json o;
    o["model"] = f.model;
    o["format"] = f.format;
    o["activations"] = f.activations;
    o["kv"] = f.kv;
    o["is_baseline"] = f.is_baseline;
    o["bits_per_weight"] = number(f.bits_per_weight);
    o["size_bytes"] = number(f.size_bytes);
    ordered_json& areas = o["area_accuracy"] = ordered_json::object();
    for (const auto& [area, estimate] : f.area_accuracy)
      areas[area] = {{"accuracy", estimate.value}, {"standard_error", estimate.standard_error}, {"items", estimate.count}};
    if (f.pooled) {
      const statistics::PooledRetention& p = *f.pooled;
      ordered_json pooled;
      pooled["difference"] = p.difference;
      pooled["difference_interval"] = interval_json(p.difference_interval);
      pooled["one_sided_bounds"] = interval_json(p.one_sided);
      pooled["retention"] = number(p.retention);
      pooled["retention_interval"] = p.retention ? interval_json(p.retention_interval) : ordered_json(nullptr);
      pooled["raw_ratio"] = p.raw_ratio;
      pooled["flips_lost"] = p.lost;
      pooled["flips_gained"] = p.gained;
      pooled["interval_method"] = p.exact ? "exact" : "bootstrap";
      pooled["p_worse"] = p.p_worse;
      pooled["verdict"] = name_of(p.verdict);
      o["pooled"] = std::move(pooled);
    }
    o["perplexity"] = number(f.perplexity);
    o["perplexity_standard_error"] = f.perplexity.value ? ordered_json(f.perplexity.standard_error) : ordered_json(nullptr);
    o["kl_divergence"] = number(f.kl_divergence);
    o["kl_divergence_p99"] = number(f.kl_divergence_p99);
    o["top1_agreement"] = number(f.top1_agreement);
    o["delta_p"] = number(f.delta_p);
    ordered_json& speeds = o["speeds"] = ordered_json::array();
    for (const Speed& speed : f.speeds) {
      ordered_json s;
      s["device"] = speed.device;
      s["repetitions"] = speed.repetitions;
      add_speed(s, &speed);
      speeds.push_back(std::move(s));
    }
    o["items"] = f.items;
    o["errors"] = f.errors;
    formats.push_back(std::move(o));
  }
  for (const ChosenLine& c : summary.chosen)
    document["chosen_items"].push_back({{"model", c.model}, {"format", c.format}, {"activations", c.activations}, {"kv", c.kv}, {"suite", c.suite},
                                        {"items", c.items}, {"of", c.of}, {"accuracy", estimate_json(c.accuracy, c.accuracy_interval)},
                                        {"difference", c.difference ? estimate_json(*c.difference, c.difference_interval) : ordered_json(nullptr)},
                                        {"flips_lost", c.lost}, {"flips_gained", c.gained}});
  for (const TwinLine& t : summary.twins)
    document["twins"].push_back({{"model", t.model}, {"format", t.format}, {"activations", t.activations}, {"kv", t.kv}, {"suite", t.suite}, {"seed", t.seed},
                                 {"static", estimate_json(t.original)}, {"fresh", estimate_json(t.fresh)}, {"difference", estimate_json(t.difference)},
                                 {"static_loss", t.original_loss ? estimate_json(*t.original_loss) : ordered_json(nullptr)},
                                 {"fresh_loss", t.fresh_loss ? estimate_json(*t.fresh_loss) : ordered_json(nullptr)}});
  for (const TwinNights& t : summary.twin_nights)
    document["twin_nights"].push_back({{"model", t.model}, {"format", t.format}, {"activations", t.activations}, {"kv", t.kv}, {"suite", t.suite},
                                       {"seeds", {t.seed_before, t.seed_after}}, {"before", estimate_json(t.before)}, {"after", estimate_json(t.after)},
                                       {"difference", estimate_json(t.difference)}});
  if (summary.until) {
    document["until"] = {{"margin", summary.until->margin}, {"level", summary.until->level}};
    ordered_json& verdicts = document["area_verdicts"] = ordered_json::array();
    for (const AreaVerdict& v : summary.area_verdicts)
      verdicts.push_back({{"model", v.model}, {"format", v.format}, {"activations", v.activations}, {"kv", v.kv}, {"device", v.device}, {"area", v.area},
                          {"verdict", name_of(v.verdict)}, {"items", v.items}, {"answered", v.answered}, {"available", v.available},
                          {"difference", v.difference}, {"interval", interval_json(v.interval)}});
  }
  document["results"] = results_json(summary);
  return document;
}

}  // namespace quantfleet::reports
