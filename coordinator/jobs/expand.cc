#include "coordinator/jobs/expand.h"

#include "contract/twins.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace quantfleet::coordinator {
namespace {

constexpr std::size_t kUnitsMax = 100'000;

// splitmix64 (Steele, Lea, Flood 2014): a seeded choice that is the same everywhere.
std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

struct SuiteUse {
  SuiteInfo info;
  int items = 0;             // after the plan's limit or choice
  std::vector<int> chosen;   // which; empty: the first ones
  std::string not_runnable;  // nobody can run it, and why
  std::uint64_t choice_seed = 0;
  std::string bundle_sha256; // where it travels with the run
};

class Expansion {
 public:
  Expansion(const JobId& job, const JobSpec& spec, const Fleet& fleet, Time now)
      : job_(job), spec_(spec), fleet_(fleet), now_(now) {}

  Result<std::vector<Unit>> run() {
    if (fleet_.agents.empty())
      return Error{Code::kUnreachable, "no agent has registered yet, so nobody knows the suites of this plan"};
    if (const Status known = read_fleet(); !known) return known.error();
    for (const ModelSpec& model : spec_.models) {
      if (const Status status = add_model(model); !status) return status.error();
    }
    // Until a verdict: all formats go through the items together, the baseline ahead.
    const auto first_item = [](const Unit& unit) {
      const auto* work = std::get_if<AccuracyWork>(&unit.work);
      if (std::holds_alternative<TimingWork>(unit.work)) return std::numeric_limits<int>::max();
      return work && unit.purpose == kMeasure ? work->item_begin : 0;
    };
    if (spec_.until)
      std::stable_sort(units_.begin(), units_.end(), [&](const Unit& a, const Unit& b) { return first_item(a) < first_item(b); });
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i].ordinal = static_cast<int>(i);
    return std::move(units_);
  }

 private:
  Status read_fleet() {
    std::set<std::string> formats;
    for (const Register& agent : fleet_.agents) {
      hosts_.insert(agent.device.host_id);
      formats.insert(agent.formats.begin(), agent.formats.end());
    }
    for (const std::string& name : spec_.formats) {
      const auto made = [&](const QuantizeWork& work) {
        return std::any_of(fleet_.agents.begin(), fleet_.agents.end(), [&](const Register& agent) { return makes_format(agent, work); });
      };
      QuantizeWork work = quantize_work(spec_.models.front(), name);
      if (name == "as-is" || made(work)) continue;
      if (!work.recipe) {
        work.recipe.emplace();
        work.recipe->format = name;
        if (made(work)) return Error{Code::kBadValue, fmt::format("formats: \"{0}\" needs a calibration text: {{name: NAME, format: {0}, text: FILE}}", name)};
      }
      return Error{Code::kUnknownFormat, fmt::format("formats: no agent can quantize to \"{}\"; known: {}", work.format, fmt::join(formats, ", "))};
    }
    for (const ModelSpec& model : spec_.models) {
      const auto has = [&](const Register& agent) { return std::find(agent.engines.begin(), agent.engines.end(), model.engine) != agent.engines.end(); };
      if (!model.engine.empty() && std::none_of(fleet_.agents.begin(), fleet_.agents.end(), has))
        return Error{Code::kUnknownName, fmt::format("models: \"{}\": no agent has an engine called \"{}\" (quantfleet agent --engine NAME=KIND@URL)", model.name, model.engine)};
    }
    for (const SuiteSpec& wanted : spec_.suites) {
      const SuiteInfo* info = wanted.info ? &*wanted.info : choose_suite(fleet_, wanted.name);
      if (!info) return Error{Code::kUnknownName, fmt::format("suites: no agent has a suite called \"{}\"", wanted.name)};
      SuiteUse use{*info, info->items, {}, "", wanted.choice_seed, wanted.bundle_sha256};
      if (wanted.limit > 0) use.items = std::min(use.items, wanted.limit);
      for (const ChosenItem& item : wanted.chosen) use.chosen.push_back(item.index);
      if (!use.chosen.empty()) {
        if (use.chosen.back() >= use.items)
          return Error{Code::kBadValue, fmt::format("suites: \"{}\" has {} items, number {} was chosen", wanted.name, use.items, use.chosen.back())};
        if (use.info.kind == "rolling") return Error{Code::kUnsupported, fmt::format("suites: \"{}\" has no right answers, so no items to choose", wanted.name)};
        use.items = static_cast<int>(use.chosen.size());
      }
      if (use.items == 0) return Error{Code::kBadValue, fmt::format("suites: \"{}\" has no items", wanted.name)};
      use.not_runnable = wanted.info ? why_nobody_runs_code(*info) : why_nobody_runs(*info);
      suites_.push_back(use);
      if (!spec_.twins || wanted.info || !has_twins(wanted.name)) continue;
      use.info.name = twin_name(wanted.name, spec_.twins->seed);
      suites_.push_back(std::move(use));
    }
    return {};
  }

  std::string why_nobody_runs(const SuiteInfo& wanted) const {
    std::string reason;
    for (const Register& agent : fleet_.agents) {
      for (const SuiteInfo& suite : agent.suites) {
        if (suite.name != wanted.name || suite.sha256 != wanted.sha256) continue;
        if (suite.not_runnable.empty()) return {};
        reason = suite.not_runnable;
      }
    }
    return reason;
  }

  // Of a suite that travels with the run: any agent may have it, but not every one can run code.
  std::string why_nobody_runs_code(const SuiteInfo& wanted) const {
    if (wanted.kind != "code") return {};
    std::string reason;
    for (const Register& agent : fleet_.agents) {
      reason = why_no_code(agent);
      if (reason.empty()) return {};
    }
    return reason;
  }

  Status add_model(const ModelSpec& model) {
    const std::size_t hosts = hosts_.size();
    std::size_t accuracy = 0;
    for (const SuiteUse& suite : suites_) accuracy += static_cast<std::size_t>(suite.items / spec_.limits.unit_items) + 1;
    const std::size_t variants = spec_.formats.size() * spec_.activations.size() * spec_.kv.size();
    const bool every = std::holds_alternative<AccuracyEveryDevice>(spec_.accuracy);
    if (units_.size() + variants * (accuracy * (every ? hosts : 1) + (suites_.size() + 1) * hosts) > kUnitsMax)
      return Error{Code::kTooLarge, fmt::format("the plan needs more than {} units; raise limits.unit_items", kUnitsMax)};

    std::vector<std::string> formats{spec_.baseline};  // the baseline first: others wait for its logits
    for (const std::string& format : spec_.formats)
      if (format != spec_.baseline) formats.push_back(format);
    for (const std::string& format : formats) add_quantize(model, format);
    for (const SuiteUse& suite : suites_)
      if (suite.info.kind == "rolling" && model.engine.empty()) add_reference_logits(model, suite);
    for (const std::string& format : formats)
      for (const Computation& computation : computations())
        for (const SuiteUse& suite : suites_) {
          if (!every) add_accuracy(model, format, computation, suite, "");
          else for (const std::string& host : hosts_) add_accuracy(model, format, computation, suite, host);
        }
    if (const auto* check = std::get_if<AccuracySpotCheck>(&spec_.accuracy); check && hosts > 1 && model.engine.empty())  // servers are not bit-identical
      for (const std::string& format : formats)
        for (const Computation& computation : computations())
          for (const std::string& host : hosts_) add_spot_check(model, format, computation, host, check->items);
    if (spec_.timing.enabled)
      for (const std::string& host : hosts_)
        for (const std::string& format : formats)
          for (const Computation& computation : computations()) add_timing(model, format, computation, host);
    return {};
  }

  // What besides its format decides a model's numbers.
  struct Computation {
    std::string activations, kv;
    std::string name() const { return kv == "f32" ? activations : activations + "+kv_" + kv; }  // in the ids of units
  };
  std::vector<Computation> computations() const {
    std::vector<Computation> all;
    for (const std::string& activations : spec_.activations)
      for (const std::string& kv : spec_.kv) all.push_back({activations, kv});
    return all;
  }

  static std::vector<LoraUse> lora_of(const ModelSpec& model) {
    std::vector<LoraUse> uses;
    for (const LoraSpec& adapter : model.lora) uses.push_back({adapter.sha256, adapter.scale});
    return uses;
  }

  Unit& add(std::string name, Work work, const ModelSpec& model, const std::string& format) {
    Unit& unit = units_.emplace_back();
    unit.id = {job_.value + "/" + std::move(name)};
    unit.job = job_;
    unit.work = std::move(work);
    unit.model = model.name;
    unit.format = format;
    unit.attempts_max = spec_.limits.attempts;
    unit.lease_seconds = spec_.limits.lease_seconds;
    unit.seed = spec_.seed;
    unit.epoch = LeaseEpoch{1};
    unit.state = Queued{};
    unit.queued_since = now_;
    return unit;
  }

  void needs_model(Unit& unit, const std::string& format) {
    if (format == "as-is") return;  // the submitted file is the model
    unit.model_from = UnitId{job_.value + "/quantize/" + unit.model + "/" + format};
    unit.state = Blocked{};
  }

  void skip_if_not_runnable(Unit& unit, const SuiteUse& suite) {
    if (!suite.not_runnable.empty()) unit.state = Cancelled{"not run: " + suite.not_runnable};
  }

  void add_quantize(const ModelSpec& model, const std::string& format) {
    if (format == "as-is") return;
    add(fmt::format("quantize/{}/{}", model.name, format), quantize_work(model, format), model, format);
  }

  QuantizeWork quantize_work(const ModelSpec& model, const std::string& format) const {
    QuantizeWork work{model.sha256, format};
    if (const FormatRecipe* recipe = spec_.recipe_of(format)) {
      work.recipe = *recipe;
      work.recipe->text.clear();  // where they lay says nothing to agents
      work.recipe->imatrix.clear();
      if (!recipe->format.empty()) work.format = recipe->format;
    }
    return work;
  }

  std::string reference_name(const ModelSpec& model, const SuiteUse& suite, int begin) const {
    return fmt::format("reference_logits/{}/{}/{}", model.name, suite.info.name, begin);
  }

  void add_reference_logits(const ModelSpec& model, const SuiteUse& suite) {
    for (int begin = 0; begin < suite.items; begin += spec_.limits.unit_items) {
      const int end = std::min(suite.items, begin + spec_.limits.unit_items);
      ReferenceLogitsWork work{model.sha256, suite.info.name, begin, end, spec_.activations.front(), suite.bundle_sha256, lora_of(model)};
      Unit& unit = add(reference_name(model, suite, begin), std::move(work), model, spec_.baseline);
      unit.activations = spec_.activations.front();
      unit.kv = "f32";
      unit.suite_sha256 = suite.info.sha256;
      needs_model(unit, spec_.baseline);
      skip_if_not_runnable(unit, suite);
    }
  }

  void add_accuracy(const ModelSpec& model, const std::string& format, const Computation& computation, const SuiteUse& suite,
                    const std::string& host) {
    const std::string where = host.empty() ? "" : "@" + host.substr(0, 16);
    for (int begin = 0; begin < suite.items; begin += spec_.limits.unit_items) {
      const int end = std::min(suite.items, begin + spec_.limits.unit_items);
      AccuracyWork work;
      work.model_sha256 = model.sha256;
      work.format = format;
      work.activations = computation.activations;
      work.kv = computation.kv;
      work.suite = suite.info.name;
      work.item_begin = begin;
      work.item_end = end;
      work.choice_seed = suite.choice_seed;
      work.suite_bundle_sha256 = suite.bundle_sha256;
      work.needs_sandbox = suite.info.kind == "code";
      work.lora = lora_of(model);
      work.engine = model.engine;
      work.token_probes_sha256 = model.token_probes_sha256;
      if (!suite.chosen.empty()) {
        work.items.assign(suite.chosen.begin() + begin, suite.chosen.begin() + end);
        work.item_begin = work.items.front();
        work.item_end = work.items.back() + 1;
      }
      work.item_seconds = spec_.limits.item_seconds;
      Unit& unit = add(fmt::format("accuracy/{}/{}/{}/{}/{}{}", model.name, format, computation.name(), suite.info.name, begin, where),
                       std::move(work), model, format);
      unit.activations = computation.activations;
      unit.kv = computation.kv;
      unit.suite_sha256 = suite.info.sha256;
      unit.host_id = host;
      unit.items = end - begin;
      needs_model(unit, format);
      if (suite.info.kind == "rolling" && model.engine.empty()) {
        unit.reference_from = UnitId{job_.value + "/" + reference_name(model, suite, begin)};
        unit.state = Blocked{};
      }
      skip_if_not_runnable(unit, suite);
    }
  }

  // K items over all suites that leave logits digests and run anywhere: the same items on every machine.
  void add_spot_check(const ModelSpec& model, const std::string& format, const Computation& computation,
                      const std::string& host, int count) {
    std::vector<std::pair<std::size_t, int>> candidates;  // suite, item
    for (std::size_t s = 0; s < suites_.size(); ++s) {
      if (suites_[s].info.kind == "rolling" || suites_[s].info.kind == "code" || !suites_[s].not_runnable.empty()) continue;
      for (int i = 0; i < suites_[s].items; ++i) candidates.emplace_back(s, suites_[s].chosen.empty() ? i : suites_[s].chosen[static_cast<std::size_t>(i)]);
    }
    std::uint64_t random = spec_.seed;
    const std::size_t chosen = std::min(candidates.size(), static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < chosen; ++i)  // the first steps of a Fisher-Yates shuffle
      std::swap(candidates[i], candidates[i + next_random(random) % (candidates.size() - i)]);
    std::map<std::size_t, std::vector<int>> by_suite;
    for (std::size_t i = 0; i < chosen; ++i) by_suite[candidates[i].first].push_back(candidates[i].second);
    for (auto& [s, items] : by_suite) {
      std::sort(items.begin(), items.end());
      const SuiteUse& suite = suites_[s];
      AccuracyWork work;
      work.model_sha256 = model.sha256;
      work.format = format;
      work.activations = computation.activations;
      work.kv = computation.kv;
      work.suite = suite.info.name;
      work.item_begin = items.front();
      work.item_end = items.back() + 1;
      work.items = items;
      work.choice_seed = suite.choice_seed;
      work.suite_bundle_sha256 = suite.bundle_sha256;
      work.needs_sandbox = suite.info.kind == "code";
      work.lora = lora_of(model);
      work.engine = model.engine;
      work.token_probes_sha256 = model.token_probes_sha256;
      work.item_seconds = spec_.limits.item_seconds;
      Unit& unit = add(fmt::format("spot_check/{}/{}/{}/{}@{}", model.name, format, computation.name(), suite.info.name,
                                   host.substr(0, 16)),
                       std::move(work), model, format);
      unit.activations = computation.activations;
      unit.kv = computation.kv;
      unit.suite_sha256 = suite.info.sha256;
      unit.purpose = kSpotCheck;
      unit.host_id = host;
      unit.items = static_cast<int>(items.size());
      needs_model(unit, format);
    }
  }

  void add_timing(const ModelSpec& model, const std::string& format, const Computation& computation, const std::string& host) {
    TimingWork work{model.sha256, format, computation.activations, computation.kv, spec_.timing, lora_of(model)};
    Unit& unit = add(fmt::format("timing/{}/{}/{}@{}", model.name, format, computation.name(), host.substr(0, 16)), std::move(work),
                     model, format);
    unit.activations = computation.activations;
    unit.kv = computation.kv;
    unit.host_id = host;
    unit.items = spec_.timing.repetitions;
    needs_model(unit, format);
  }

  const JobId& job_;
  const JobSpec& spec_;
  const Fleet& fleet_;
  const Time now_;
  std::set<std::string> hosts_;
  std::vector<SuiteUse> suites_;
  std::vector<Unit> units_;
};

}  // namespace

bool makes_format(const Register& agent, const QuantizeWork& work) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
  };
  const std::string wanted = work.recipe && work.recipe->format.empty() ? "budget" : lower(work.format);
  return std::any_of(agent.formats.begin(), agent.formats.end(), [&](const std::string& format) {
    const std::string known = lower(format);
    return known.ends_with('*') ? work.recipe && wanted.starts_with(known.substr(0, known.size() - 1)) : wanted == known;
  });
}

std::string why_no_code(const Register& agent) {
  std::string reason;
  for (const SuiteInfo& suite : agent.suites) {
    if (suite.kind != "code") continue;
    if (suite.not_runnable.empty()) return {};
    reason = suite.not_runnable;
  }
  return reason;
}

const SuiteInfo* choose_suite(const Fleet& fleet, std::string_view name) {
  std::map<std::string, std::pair<int, const SuiteInfo*>> versions;  // by hash: how many agents have it
  for (const Register& agent : fleet.agents)
    for (const SuiteInfo& suite : agent.suites)
      if (suite.name == name) {
        auto& [count, info] = versions[suite.sha256];
        ++count;
        info = &suite;
      }
  const SuiteInfo* best = nullptr;
  int best_count = 0;
  for (const auto& [hash, version] : versions)
    if (version.first > best_count) {
      best_count = version.first;
      best = version.second;
    }
  return best;
}

std::vector<SuiteInfo> suites_of(const JobSpec& spec, const Fleet& fleet) {
  std::vector<SuiteInfo> suites;
  for (const SuiteSpec& wanted : spec.suites) {
    SuiteInfo info = wanted.info ? *wanted.info : *choose_suite(fleet, wanted.name);
    suites.push_back(info);
    if (!spec.twins || wanted.info || !has_twins(wanted.name)) continue;
    info.name = twin_name(wanted.name, spec.twins->seed);
    suites.push_back(std::move(info));
  }
  return suites;
}

Result<std::vector<Unit>> expand(const JobId& job, const JobSpec& spec, const Fleet& fleet, Time now) {
  for (const ModelSpec& model : spec.models)
    if (model.sha256.empty() || std::any_of(model.lora.begin(), model.lora.end(), [](const LoraSpec& adapter) { return adapter.sha256.empty(); }))
      return Error{Code::kBadValue, fmt::format("models: \"{}\" or an adapter on it has no sha256; submit fills it in from the file", model.name)};
  for (const FormatRecipe& recipe : spec.recipes)
    if ((recipe.text_sha256.empty() && !recipe.text.empty()) || (recipe.imatrix_sha256.empty() && !recipe.imatrix.empty()))
      return Error{Code::kBadValue, fmt::format("formats: \"{}\" names a file without its sha256; submit fills it in", recipe.name)};
  return Expansion(job, spec, fleet, now).run();
}

}  // namespace quantfleet::coordinator
