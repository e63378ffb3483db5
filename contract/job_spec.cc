// Plans as JSON: strict reading with limits, canonical writing. YAML comes through job_spec_yaml.cc into the same reader.
#include "contract/job_spec.h"

#include "contract/job_spec_fields.h"
#include "contract/twins.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace quantfleet {
namespace {

using fields_io::describe;
using fields_io::FieldReader;
using fields_io::Json;

constexpr std::size_t kJsonBytesMax = 1u << 20;

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

// Names become parts of unit ids, file names and table heads.
void name_field(FieldReader& io, const char* key, std::string& name) {
  io.text(key, name, 64);
  if (io.failed() || !io.has(key)) return;
  if (!is_name(name))
    io.fail(key, Code::kBadValue, fmt::format("\"{}\" is not a name: 1 to 64 of A-Z a-z 0-9 . _ -", name.substr(0, 64)));
}


void required(FieldReader& io, const char* key) {
  if (!io.failed() && !io.has(key)) io.fail(key, Code::kBadValue, "is missing");
}

std::string entry(const char* key, std::size_t index) { return std::string(key) + "[" + std::to_string(index) + "]"; }

void read_names(FieldReader& io, const char* key, std::vector<std::string>& names, std::size_t count_max) {
  io.texts(key, names, count_max, 64);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size() && !io.failed(); ++i) {
    if (!is_name(names[i])) {
      io.fail(entry(key, i).c_str(), Code::kBadValue,
              fmt::format("\"{}\" is not a name: 1 to 64 of A-Z a-z 0-9 . _ -", names[i].substr(0, 64)));
    } else if (!seen.insert(names[i]).second) {
      io.fail(entry(key, i).c_str(), Code::kBadValue, fmt::format("\"{}\" is listed twice", names[i]));
    }
  }
}

// Names, or recipes with a name.
void read_formats(FieldReader& io, JobSpec& spec) {
  const Json* list = io.take("formats", true);
  if (!list) return;
  if (!list->is_array()) return io.fail("formats", Code::kBadValue, fmt::format("expected a list, found {}", describe(*list)));
  if (list->size() > 64) return io.fail("formats", Code::kTooLarge, fmt::format("{} entries, at most 64", list->size()));
  for (std::size_t i = 0; i < list->size() && !io.failed(); ++i) {
    const auto bad = [&](std::string sentence) { io.fail(entry("formats", i).c_str(), Code::kBadValue, std::move(sentence)); };
    if ((*list)[i].is_string()) {
      spec.formats.push_back((*list)[i].get<std::string>());
    } else if ((*list)[i].is_object()) {
      FormatRecipe recipe;
      io.object_at((*list)[i], io.child(entry("formats", i)), recipe);
      if (io.failed()) return;
      if (recipe.name.empty()) return io.fail((entry("formats", i) + ".name").c_str(), Code::kBadValue, "is missing");
      if (recipe.format.empty() == (recipe.budget_bpw == 0)) return bad("needs one of format and budget_bpw");
      const bool text = !recipe.text.empty() || !recipe.text_sha256.empty(), imatrix = !recipe.imatrix.empty() || !recipe.imatrix_sha256.empty();
      if (recipe.budget_bpw != 0 && !text) return bad("a budget needs a calibration text (text: FILE)");
      if (text && imatrix) return bad("has a text and an imatrix; one of them makes the importance of columns");
      if (!recipe.candidates.empty() && recipe.budget_bpw == 0) return bad("candidates are of a budget (budget_bpw)");
      if (recipe.name == "as-is" || recipe.format == "as-is") return bad("as-is is the file unchanged, which has no recipe");
      spec.formats.push_back(recipe.name);
      spec.recipes.push_back(std::move(recipe));
    } else {
      return bad(fmt::format("expected a name or a recipe with one, found {}", describe((*list)[i])));
    }
    if (!is_name(spec.formats.back())) return bad(fmt::format("\"{}\" is not a name: 1 to 64 of A-Z a-z 0-9 . _ -", spec.formats.back().substr(0, 64)));
    if (std::count(spec.formats.begin(), spec.formats.end(), spec.formats.back()) > 1) return bad(fmt::format("\"{}\" is listed twice", spec.formats.back()));
  }
}

void read_suites(FieldReader& io, std::vector<SuiteSpec>& suites) {
  const Json* list = io.take("suites", true);
  if (!list) return;
  if (!list->is_array()) return io.fail("suites", Code::kBadValue, fmt::format("expected a list, found {}", describe(*list)));
  if (list->size() > 256) return io.fail("suites", Code::kTooLarge, fmt::format("{} entries, at most 256", list->size()));
  std::set<std::string> seen;
  suites.clear();
  for (std::size_t i = 0; i < list->size() && !io.failed(); ++i) {
    SuiteSpec suite;
    if ((*list)[i].is_string()) suite.name = (*list)[i].get<std::string>();
    else io.object_at((*list)[i], io.child(entry("suites", i)), suite);
    if (io.failed()) return;
    if (!is_name(suite.name)) {
      io.fail(entry("suites", i).c_str(), Code::kBadValue,
              fmt::format("\"{}\" is not a name: 1 to 64 of A-Z a-z 0-9 . _ -", suite.name.substr(0, 64)));
    } else if (!seen.insert(suite.name).second) {
      io.fail(entry("suites", i).c_str(), Code::kBadValue, fmt::format("\"{}\" is listed twice", suite.name));
    }
    suites.push_back(std::move(suite));
  }
}

void read_lora(FieldReader& io, std::vector<LoraSpec>& adapters) {
  const Json* value = io.take("lora", true);
  if (!value) return;
  Json one = Json::array({*value});
  const Json& list = value->is_array() ? *value : one;
  if (list.size() > 8) return io.fail("lora", Code::kTooLarge, fmt::format("{} adapters, at most 8", list.size()));
  adapters.clear();
  for (std::size_t i = 0; i < list.size() && !io.failed(); ++i) {
    LoraSpec& adapter = adapters.emplace_back();
    if (list[i].is_string()) adapter.path = list[i].get<std::string>();
    else io.object_at(list[i], io.child(entry("lora", i)), adapter);
    if (!io.failed() && adapter.path.empty() && adapter.sha256.empty()) io.fail(entry("lora", i).c_str(), Code::kBadValue, "needs a path or a sha256");
  }
}

void read_accuracy(FieldReader& io, AccuracyPolicy& policy) {
  const Json* value = io.take("accuracy", true);
  if (!value) return;
  if (value->is_string() && *value == "once") {
    policy = AccuracyOnce{};
  } else if (value->is_string() && *value == "every_device") {
    policy = AccuracyEveryDevice{};
  } else if (value->is_string() && *value == "spot_check") {
    policy = AccuracySpotCheck{};
  } else if (value->is_object()) {
    AccuracySpotCheck check;
    io.object_at(*value, io.child("accuracy"), check);
    policy = check;
  } else {
    io.fail("accuracy", Code::kBadValue,
            fmt::format("expected once, every_device, spot_check or spot_check: K, found {}", describe(*value)));
  }
}

void read_timing(FieldReader& io, TimingSpec& timing) {
  const Json* value = io.take("timing", true);
  if (!value) return;
  if ((value->is_string() && *value == "off") || (value->is_boolean() && !value->get<bool>())) {
    timing.enabled = false;
  } else if (value->is_string() && *value == "on") {
    timing.enabled = true;
  } else {
    io.object_at(*value, io.child("timing"), timing);
  }
}

void read_until(FieldReader& io, std::optional<UntilVerdict>& until) {
  const Json* value = io.take("until", true);
  if (!value) return;
  until.emplace();
  if (value->is_string() && *value == "verdict") return;
  if (value->is_object()) return io.object_at(*value, io.child("until"), *until);
  io.fail("until", Code::kBadValue, fmt::format("expected verdict or {{margin: M, level: L}}, found {}", describe(*value)));
}

void read_twins(FieldReader& io, std::optional<FreshTwins>& twins) {
  const Json* value = io.take("twins", true);
  if (!value) return;
  twins.emplace();
  if (value->is_string() && *value == "nightly") return;
  if (value->is_object()) return io.object_at(*value, io.child("twins"), *twins);
  io.fail("twins", Code::kBadValue, fmt::format("expected nightly or {{seed: N}}, found {}", describe(*value)));
}

void check_whole(FieldReader& io, JobSpec& spec) {
  if (io.failed()) return;
  if (spec.models.empty()) return io.fail("models", Code::kBadValue, "needs at least one model");
  if (spec.formats.empty()) return io.fail("formats", Code::kBadValue, "needs at least one format");
  if (spec.activations.empty()) spec.activations = {"default"};
  if (spec.kv.empty()) spec.kv = {"f32"};
  if (spec.baseline.empty()) spec.baseline = spec.formats.front();
  if (std::find(spec.formats.begin(), spec.formats.end(), spec.baseline) == spec.formats.end())
    return io.fail("baseline", Code::kBadValue, fmt::format("\"{}\" is not one of the formats", spec.baseline));
  for (std::size_t i = 0; i < spec.activations.size(); ++i) {
    const std::string& name = spec.activations[i];
    if (name != "f32" && name != "int8" && name != "default")
      return io.fail(entry("activations", i).c_str(), Code::kBadValue,
                     fmt::format("expected f32, int8 or default, found \"{}\"", name));
  }
  for (std::size_t i = 0; i < spec.kv.size(); ++i) {
    const std::string& name = spec.kv[i];
    if (name != "f32" && name != "f16" && name != "q8_0" && name != "q4_0")
      return io.fail(entry("kv", i).c_str(), Code::kBadValue, fmt::format("expected f32, f16, q8_0 or q4_0, found \"{}\"", name));
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < spec.models.size(); ++i) {
    if (!names.insert(spec.models[i].name).second)
      return io.fail(entry("models", i).c_str(), Code::kBadValue, fmt::format("\"{}\" is named twice", spec.models[i].name));
    if (spec.models[i].path.empty() && spec.models[i].sha256.empty())
      return io.fail(entry("models", i).c_str(), Code::kBadValue, "needs a path or a sha256");
    if (spec.models[i].engine.empty()) continue;
    const std::string external = "is answered by the engine " + spec.models[i].engine;
    if (!spec.models[i].lora.empty()) return io.fail(entry("models", i).c_str(), Code::kBadValue, external + ", which must be started with its adapters");
    if (spec.formats.size() != 1 || spec.formats.front() != "as-is")
      return io.fail("formats", Code::kBadValue, fmt::format("the model {} {}, which has its own format: as-is alone is possible", spec.models[i].name, external));
    if (spec.timing.enabled) return io.fail("timing", Code::kBadValue, fmt::format("the model {} {}, which is not timed from outside: timing: off is needed", spec.models[i].name, external));
    if (spec.kv != std::vector<std::string>{"f32"} || spec.activations != std::vector<std::string>{"default"})
      return io.fail("models", Code::kBadValue, fmt::format("the model {} {}: kv and activations are the engine's own and cannot be chosen here", spec.models[i].name, external));
  }
  if (spec.twins && std::none_of(spec.suites.begin(), spec.suites.end(), [](const SuiteSpec& s) { return has_twins(s.name); }))
    return io.fail("twins", Code::kBadValue, "none of the suites has twins; reasoning and math have");
  for (std::size_t i = 0; i < spec.suites.size(); ++i) {
    const SuiteSpec& suite = spec.suites[i];
    if (suite.most_telling == 0 && suite.chosen.empty()) continue;
    if (spec.until) return io.fail(entry("suites", i).c_str(), Code::kBadValue, "a choice of items and `until` exclude each other: verdicts need items as they come");
    if (spec.twins && has_twins(suite.name)) return io.fail(entry("suites", i).c_str(), Code::kBadValue, "a choice of items and `twins` exclude each other");
  }
  if (spec.suites.empty() && !spec.timing.enabled)
    return io.fail("suites", Code::kBadValue, "with timing off, at least one suite is needed");
}

}  // namespace

void fields(FieldReader& io, ModelSpec& model) {
  required(io, "name");
  name_field(io, "name", model.name);
  io.text("path", model.path, 4096);
  io.hash("sha256", model.sha256, true);
  read_lora(io, model.lora);
  name_field(io, "engine", model.engine);
  io.hash("token_probes_sha256", model.token_probes_sha256, true);
}

void fields(FieldReader& io, LoraSpec& adapter) {
  io.text("path", adapter.path, 4096);
  io.hash("sha256", adapter.sha256, true);
  io.number("scale", adapter.scale, -1e6, 1e6);
}

void fields(FieldReader& io, ChosenItem& item) {
  required(io, "index");
  io.integer("index", item.index, 0, 10'000'000);
  required(io, "probability");
  io.number("probability", item.probability, 1e-9, 1);
}

void fields(FieldReader& io, SuiteSpec& suite) {
  required(io, "name");
  name_field(io, "name", suite.name);
  io.integer("limit", suite.limit, 0, 10'000'000);
  io.integer("choice_seed", suite.choice_seed, 0, std::uint64_t{1} << 62);
  io.hash("bundle_sha256", suite.bundle_sha256, true);
  io.optional("info", suite.info);
  io.integer("most_telling", suite.most_telling, 0, 10'000);
  if (io.has("chosen")) io.list("chosen", suite.chosen, 10'000);
  for (std::size_t i = 1; i < suite.chosen.size() && !io.failed(); ++i)
    if (suite.chosen[i].index <= suite.chosen[i - 1].index)
      io.fail(entry("chosen", i).c_str(), Code::kBadValue, fmt::format("index {} does not ascend", suite.chosen[i].index));
  if (!io.failed() && suite.limit > 0 && (suite.most_telling > 0 || !suite.chosen.empty()))
    io.fail("limit", Code::kBadValue, "a limit and a choice of items exclude each other");
  if (io.failed()) return;
  if (suite.info.has_value() == suite.bundle_sha256.empty())
    return io.fail("bundle_sha256", Code::kBadValue, "stands beside 'info', or neither is there: `quantfleet submit` fills both in");
  if (suite.info && (suite.info->name != suite.name || suite.info->items < 1 || suite.info->sha256.empty()))
    io.fail("info", Code::kBadValue, fmt::format("is not of a suite \"{}\" with items", suite.name));
}

void fields(FieldReader& io, AccuracySpotCheck& check) {
  required(io, "spot_check");
  io.integer("spot_check", check.items, 1, 100'000);
}

void fields(FieldReader& io, LimitSpec& limits) {
  io.integer("unit_items", limits.unit_items, 1, 100'000);
  io.integer("attempts", limits.attempts, 1, 100);
  io.number("item_seconds", limits.item_seconds, 0.001, 86'400);
  io.number("lease_seconds", limits.lease_seconds, 1, 3'600);
}

void fields(FieldReader& io, UntilVerdict& until) {
  io.number("margin", until.margin, 0.0001, 0.5);
  io.number("level", until.level, 1e-9, 0.5);
}

void fields(FieldReader& io, FreshTwins& twins) { io.integer("seed", twins.seed); }

void fields(FieldReader& io, JobSpec& spec) {
  required(io, "name");
  name_field(io, "name", spec.name);
  io.integer("seed", spec.seed);
  required(io, "models");
  io.list("models", spec.models, 64);
  required(io, "formats");
  read_formats(io, spec);
  name_field(io, "baseline", spec.baseline);
  read_names(io, "activations", spec.activations, 3);
  read_names(io, "kv", spec.kv, 4);
  read_suites(io, spec.suites);
  read_accuracy(io, spec.accuracy);
  read_timing(io, spec.timing);
  if (io.has("limits")) io.object("limits", spec.limits);
  read_until(io, spec.until);
  read_twins(io, spec.twins);
  check_whole(io, spec);
}

const FormatRecipe* JobSpec::recipe_of(std::string_view format) const {
  const auto found = std::find_if(recipes.begin(), recipes.end(), [&](const FormatRecipe& recipe) { return recipe.name == format; });
  return found == recipes.end() ? nullptr : &*found;
}

Result<JobSpec> job_spec_from_tree(const fields_io::Json& tree, std::string& field) {
  std::optional<Error> error;
  JobSpec spec;
  FieldReader reader(tree, "", error);
  reader.lenient();
  if (!error) {
    fields(reader, spec);
    reader.finish();
  }
  if (error) {
    field = error->detail.substr(0, error->detail.find(": "));
    return *error;
  }
  return spec;
}

Result<JobSpec> job_spec_from_json(std::string_view json, std::string_view place) {
  Json tree;
  if (const Status parsed = fields_io::parse_json(json, kJsonBytesMax, tree); !parsed) return at(place, parsed.error());
  std::string field;
  Result<JobSpec> spec = job_spec_from_tree(tree, field);
  if (!spec) return at(place, spec.error());
  return spec;
}

std::string canonical_json(const JobSpec& spec) {
  Json models = Json::array();
  for (const ModelSpec& model : spec.models) {
    Json entry{{"name", model.name}, {"sha256", model.sha256}};
    if (model.sha256.empty()) entry["path"] = model.path;  // a path says nothing once the content has a name
    for (const LoraSpec& adapter : model.lora) {
      Json one{{"sha256", adapter.sha256}, {"scale", adapter.scale}};
      if (adapter.sha256.empty()) one["path"] = adapter.path;
      entry["lora"].push_back(std::move(one));
    }
    if (!model.engine.empty()) entry["engine"] = model.engine;
    if (!model.token_probes_sha256.empty()) entry["token_probes_sha256"] = model.token_probes_sha256;
    models.push_back(std::move(entry));
  }
  Json formats = Json::array();
  for (const std::string& name : spec.formats) {
    const FormatRecipe* recipe = spec.recipe_of(name);
    if (!recipe) {
      formats.push_back(name);
      continue;
    }
    Json entry = fields_io::to_json(*recipe), usual = fields_io::to_json(FormatRecipe());
    if (!recipe->text_sha256.empty()) entry.erase("text");
    if (!recipe->imatrix_sha256.empty()) entry.erase("imatrix");
    for (const auto& [key, value] : usual.items())
      if (entry.contains(key) && entry[key] == value) entry.erase(key);
    formats.push_back(std::move(entry));
  }
  Json suites = Json::array();
  for (const SuiteSpec& suite : spec.suites) {
    Json entry{{"name", suite.name}, {"limit", suite.limit}};
    if (suite.choice_seed) entry["choice_seed"] = suite.choice_seed;
    if (suite.info) {
      entry["bundle_sha256"] = suite.bundle_sha256;
      fields_io::FieldWriter info(entry["info"]);
      fields(info, const_cast<SuiteInfo&>(*suite.info));
    }
    if (suite.most_telling > 0) entry["most_telling"] = suite.most_telling;
    for (const ChosenItem& item : suite.chosen) entry["chosen"].push_back({{"index", item.index}, {"probability", item.probability}});
    suites.push_back(std::move(entry));
  }
  Json accuracy;
  if (std::holds_alternative<AccuracyOnce>(spec.accuracy)) accuracy = "once";
  else if (std::holds_alternative<AccuracyEveryDevice>(spec.accuracy)) accuracy = "every_device";
  else accuracy = Json{{"spot_check", std::get<AccuracySpotCheck>(spec.accuracy).items}};
  Json json{
      {"name", spec.name},
      {"seed", spec.seed},
      {"models", std::move(models)},
      {"formats", std::move(formats)},
      {"baseline", spec.baseline},
      {"activations", spec.activations},
      {"kv", spec.kv},
      {"suites", std::move(suites)},
      {"accuracy", std::move(accuracy)},
      {"timing",
       {{"enabled", spec.timing.enabled},
        {"prompt_tokens", spec.timing.prompt_tokens},
        {"generated_tokens", spec.timing.generated_tokens},
        {"repetitions", spec.timing.repetitions}}},
      {"limits",
       {{"unit_items", spec.limits.unit_items},
        {"attempts", spec.limits.attempts},
        {"item_seconds", spec.limits.item_seconds},
        {"lease_seconds", spec.limits.lease_seconds}}},
  };
  // Keys of later versions stand only where a plan has them, so that older plans keep their hash.
  if (spec.until) json["until"] = {{"margin", spec.until->margin}, {"level", spec.until->level}};
  if (spec.twins) json["twins"] = {{"seed", spec.twins->seed}};
  return fields_io::dump(json);
}

}  // namespace quantfleet
