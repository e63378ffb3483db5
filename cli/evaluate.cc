// quantfleet evaluate: one model, here and now: accuracy per suite with its standard error, and with --json every item.
// Errors of single items are counted, never dropped; a suite that cannot run here says why.
#include "agent/sandbox/sandbox.h"
#include "backends/engines/engine.h"
#include "backends/engines/token_probes.h"
#include "backends/huggingface/checkpoint.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "cli/suites_root.h"
#include "contract/error.h"
#include "contract/version.h"
#include "reports/statistics/interval.h"
#include "reports/tables/aggregates.h"
#include "suites/suite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

namespace quantfleet::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  EngineOptions engine;
  std::string activations;
  std::vector<std::string> lora;
  std::string dialect = "openai";
  std::vector<std::string> names;
  std::filesystem::path root;
  int limit = 0;
  std::uint64_t choice_seed = 0;
  bool json = false;
};

struct Measured {
  std::shared_ptr<const Suite> suite;
  std::vector<ItemResult> rows;  // in the suite's order
  std::string not_run;           // why, or empty
  Code why_not = Code::kSandboxUnavailable;
  double seconds = 0;            // of all but the prompts
  double prompt_seconds = 0;     // building the requests
  double scoring_seconds = 0;    // inside `seconds`
};

// exp of the mean negative log-likelihood per token; its error by the delta method, tokens taken as independent.
struct Perplexity {
  double tokens = 0, value = 0, standard_error = 0;
};

Perplexity perplexity_of(const std::vector<ItemResult>& rows) {
  double nll = 0, squares = 0;
  Perplexity result;
  for (const ItemResult& row : rows) {
    if (row.error) continue;
    nll += row.scores.at("nll");
    squares += row.scores.at("nll_squared");
    result.tokens += row.scores.at("tokens");
  }
  if (result.tokens == 0) return result;
  const double mean = nll / result.tokens;
  result.value = std::exp(mean);
  if (result.tokens > 1) result.standard_error = result.value * std::sqrt(std::max(0.0, squares / result.tokens - mean * mean) / (result.tokens - 1));
  return result;
}

Measured measure(Engine& engine, std::shared_ptr<const Suite> suite, int limit) {
  Measured measured;
  measured.suite = std::move(suite);
  const SuiteInfo& info = measured.suite->info();
  if (!engine.info().scores_prompts && (info.kind == "loglikelihood" || info.kind == "rolling")) {
    measured.not_run = fmt::format("the suite asks for log-likelihoods, and {} does not return the log-probabilities of a prompt", engine.info().engine);
    measured.why_not = Code::kUnsupported;
    return measured;
  }
  const Sandbox sandbox;
  if (info.kind == "code")
    if (const Status available = sandbox_available(); !available) {
      measured.not_run = available.error().detail;
      return measured;
    }
  const int count = limit > 0 ? std::min(limit, info.items) : info.items;
  std::vector<Request> requests;
  std::vector<int> asked;  // index of each request
  measured.rows.resize(static_cast<std::size_t>(count));
  const auto fail = [&](int index, const Error& error) {
    ItemResult& row = measured.rows[static_cast<std::size_t>(index)];
    row.item = measured.suite->item_id(index);
    row.index = index;
    row.error = error;
  };
  const auto since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto building = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    auto request = measured.suite->request(i, engine.info().chat_template);
    if (!request) {
      fail(i, request.error());
      continue;
    }
    requests.push_back(std::move(*request));
    asked.push_back(i);
  }
  measured.prompt_seconds = since(building);
  Progress progress(info.name, "items");
  std::uint64_t done = 0;
  const auto begin = std::chrono::steady_clock::now();
  engine.answer(requests, [&](std::size_t at, Result<Response> response) {
    const auto scoring = std::chrono::steady_clock::now();
    if (!response) fail(asked[at], response.error());
    else measured.rows[static_cast<std::size_t>(asked[at])] = measured.suite->score(asked[at], *response, &sandbox);
    measured.scoring_seconds += since(scoring);
    progress.update(++done, requests.size());
    return !interrupted();
  });
  measured.seconds = since(begin);
  return measured;
}

Json to_json(const ItemResult& row) {
  Json json = {{"item", row.item.value}, {"index", row.index}, {"scores", row.scores}};
  json["prompt_tokens"] = row.prompt_tokens;
  json["generated_tokens"] = row.generated_tokens;
  json["first_token_ms"] = row.first_token_ms > 0 ? Json(row.first_token_ms) : Json();  // servers do not say when
  json["total_ms"] = row.total_ms;
  json["output"] = row.output;
  json["group"] = row.group;
  json["logits_digest"] = row.logits_digest;
  if (row.error) json["error"] = {{"code", name_of(row.error->code)}, {"detail", row.error->detail}};
  else json["error"] = nullptr;
  return json;
}

int errors_of(const Measured& measured) {
  return static_cast<int>(std::count_if(measured.rows.begin(), measured.rows.end(), [](const ItemResult& row) { return row.error.has_value(); }));
}

std::vector<const ItemResult*> rows_of(const Measured& measured) {
  std::vector<const ItemResult*> rows;
  for (const ItemResult& row : measured.rows) rows.push_back(&row);
  return rows;
}

// Over items, with its standard error s/sqrt(n), s with n - 1.
statistics::Estimate mean_of(const Measured& measured, const std::string& score) {
  return statistics::mean(reports::values_by_item(rows_of(measured), score));
}

Json to_json(const Measured& measured) {
  const SuiteInfo& info = measured.suite->info();
  const bool rolling = info.kind == "rolling";
  Json json = {{"name", info.name}, {"version", info.version}, {"sha256", info.sha256}, {"area", info.area}, {"kind", info.kind}};
  json["items"] = measured.rows.size();
  json["errors"] = errors_of(measured);
  json["not_run"] = measured.not_run.empty() ? Json(nullptr) : Json(measured.not_run);
  for (const char* key : {"chance", "accuracy", "standard_error", "accuracy_norm", "tokens", "perplexity", "perplexity_standard_error"}) json[key] = nullptr;
  if (rolling) {
    if (const Perplexity perplexity = perplexity_of(measured.rows); perplexity.tokens > 0) {
      json["tokens"] = perplexity.tokens;
      json["perplexity"] = perplexity.value;
      json["perplexity_standard_error"] = perplexity.standard_error;
    }
  } else {
    json["chance"] = info.chance;
    if (const auto mean = mean_of(measured, "accuracy"); mean.count > 0) {
      json["accuracy"] = mean.value;
      json["standard_error"] = mean.standard_error;
    }
  }
  json["aggregates"] = Json::object();
  for (const reports::Aggregate& one : reports::aggregates_of(rows_of(measured), info.aggregation))
    json["aggregates"][one.name] = {{"value", one.value}, {"standard_error", one.standard_error ? Json(*one.standard_error) : Json(nullptr)}, {"items", one.items}};
  if (json["aggregates"].contains("accuracy_norm")) json["accuracy_norm"] = json["aggregates"]["accuracy_norm"]["value"];
  json["groups"] = Json::object();
  for (const auto& [group, one] : reports::accuracy_by_group(rows_of(measured)))
    json["groups"][group] = {{"accuracy", one.value}, {"standard_error", *one.standard_error}, {"items", one.items}};
  json["seconds"] = measured.seconds;
  json["prompt_seconds"] = measured.prompt_seconds;
  json["scoring_seconds"] = measured.scoring_seconds;
  json["items_per_s"] = measured.seconds > 0 ? Json(static_cast<double>(measured.rows.size()) / measured.seconds) : Json(nullptr);
  json["rows"] = Json::array();
  for (const ItemResult& row : measured.rows) json["rows"].push_back(to_json(row));
  return json;
}

// Every item failed, of all suites that ran: the first error, at its item.
std::optional<Error> nothing_answered(const std::vector<Measured>& all) {
  std::optional<Error> first;
  for (const Measured& measured : all)
    for (const ItemResult& row : measured.rows) {
      if (!row.error) return std::nullopt;
      if (!first) first = at(fmt::format("no item was answered; the first error is of {} {}", measured.suite->info().name, row.item.value), *row.error);
    }
  return first;
}

void print_table(const EngineInfo& info, const std::vector<Measured>& all) {
  if (info.activations.empty())
    fmt::print("{}, answered by {}{}, {} connection{}\n\n", info.model_name, info.engine, info.kernels.empty() ? "" : " " + info.kernels, info.connections,
               info.connections == 1 ? "" : "s");
  else
    fmt::print("{} ({}), {} activations, {} KV cache, {} kernels, {} thread{}\n\n", info.model_name, info.format, info.activations, info.kv, info.kernels, info.threads,
               info.threads == 1 ? "" : "s");
  std::size_t width = 5;
  for (const Measured& measured : all) width = std::max(width, measured.suite->info().name.size());
  fmt::print("{:<{}}  {:<9}  {:>6}  {:>17}  {:>8}  {:>6}  {:>8}\n", "suite", width, "area", "items", "accuracy", "chance", "errors", "items/s");
  for (const Measured& measured : all) {
    const SuiteInfo& suite = measured.suite->info();
    if (!measured.not_run.empty()) {
      fmt::print("{:<{}}  {:<9}  not run: {}\n", suite.name, width, suite.area, measured.not_run);
      continue;
    }
    std::string value = "-", chance = "-";
    if (suite.kind == "rolling") {
      const Perplexity perplexity = perplexity_of(measured.rows);
      if (perplexity.tokens > 0) value = fmt::format("ppl {:.3f} ± {:.3f}", perplexity.value, perplexity.standard_error);
    } else {
      const auto mean = mean_of(measured, "accuracy");
      if (mean.count > 0) value = fmt::format("{:.1f} ± {:.1f} %", 100 * mean.value, 100 * mean.standard_error);
      chance = fmt::format("{:.1f} %", 100 * suite.chance);
    }
    fmt::print("{:<{}}  {:<9}  {:>6}  {:>17}  {:>8}  {:>6}  {:>8}\n", suite.name, width, suite.area, measured.rows.size(), value, chance,
               errors_of(measured),
               measured.seconds > 0 ? fmt::format("{:.1f}", static_cast<double>(measured.rows.size()) / measured.seconds) : "-");
  }
  for (const Measured& measured : all) {
    const auto aggregates = reports::aggregates_of(rows_of(measured), measured.suite->info().aggregation);
    if (!aggregates.empty()) fmt::print("\n{}:", measured.suite->info().name);
    for (const reports::Aggregate& one : aggregates)
      fmt::print(" {} {:.4g}{}", one.name, one.value, one.standard_error ? fmt::format(" ± {:.2g}", *one.standard_error) : "");
    for (const auto& [group, one] : reports::accuracy_by_group(rows_of(measured)))
      fmt::print("\n  {:<44} {:>6}  {:>5.1f} ± {:.1f} %", group, one.items, 100 * one.value, 100 * *one.standard_error);
    if (!aggregates.empty()) fmt::print("\n");
  }
  for (const Measured& measured : all)
    for (const ItemResult& row : measured.rows)
      if (row.error) {
        fmt::print("\n{}: the first error is of item {}: {}\n", measured.suite->info().name, row.item.value, row.error->detail);
        break;
      }
}

// Before anything is computed: the server must tokenize as the model's own file does.
void check_tokens(Engine& engine, const std::filesystem::path& model) {
  const auto file = open_model_file(model);
  if (!file) throw BadResult(file.error());
  const auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) throw BadResult(at(model.string(), tokenizer.error()));
  const Status conforms = check_token_probes(engine, make_token_probes(**tokenizer));
  if (conforms) return;
  if (conforms.error().code != Code::kUnsupported) throw BadResult(conforms.error());
  fmt::print(stderr, "warning: {}; that it reads these prompts as the model should is not verified\n", conforms.error().detail);
}

int evaluate(Options& options) {
  if (options.activations == "f32") options.engine.activations = Activations::kF32;
  if (options.activations == "int8") options.engine.activations = Activations::kInt8;
  for (const std::string& lora : options.lora) options.engine.adapters.push_back(adapter_of(lora));
  std::vector<std::shared_ptr<const Suite>> suites;
  if (options.choice_seed && options.names.empty()) throw BadResult({Code::kUsage, "--choice-seed needs --suite: not every suite has options that can be put into another order"});
  if (options.names.empty()) {
    auto all = load_suites(options.root);
    if (!all) throw BadResult(all.error());
    suites = std::move(*all);
  }
  for (const std::string& name : options.names) {
    auto suite = find_suite(options.root, name, {options.choice_seed});
    if (!suite) throw BadResult(suite.error());
    suites.push_back(std::move(*suite));
  }
  const bool external = !options.engine.server.url.empty();
  auto engine = open_engine(external ? options.dialect : "native", options.engine);
  if (!engine) throw BadResult(engine.error());
  if (external) check_tokens(**engine, options.engine.model);
  catch_interrupts();
  std::vector<Measured> all;
  for (const auto& suite : suites) {
    if (interrupted()) break;
    all.push_back(measure(**engine, suite, options.limit));
  }
  const EngineInfo& info = (*engine)->info();
  if (options.json) {
    Json document = {{"program_version", program_version()}, {"model", info.model_name}, {"model_sha256", info.model_sha256}, {"format", info.format},
                     {"engine", info.engine}, {"kernels", info.kernels}, {"activations", info.activations.empty() ? "external" : info.activations}, {"kv", info.kv.empty() ? "external" : info.kv}, {"lora", info.lora}, {"threads", external ? Json(nullptr) : Json(info.threads)}, {"connections", external ? Json(info.connections) : Json(nullptr)}};
    document["suites"] = Json::array();
    for (const Measured& measured : all) document["suites"].push_back(to_json(measured));
    fmt::print("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_table(info, all);
  }
  if (interrupted()) return exit_code(Code::kInterrupted);
  if (const auto failed = nothing_answered(all)) {
    fmt::print(stderr, "quantfleet: {}\n", failed->detail);
    // A model's own items can be bad input (too long for it); whatever a server does wrong is the environment's.
    return !external && exit_code(failed->code) == exit_code(Code::kUsage) ? exit_code(Code::kUsage) : exit_code(Code::kUnreachable);
  }
  const bool none_ran = !all.empty() && std::all_of(all.begin(), all.end(), [](const Measured& measured) { return !measured.not_run.empty(); });
  return none_ran ? exit_code(all.front().why_not) : 0;
}

}  // namespace

std::function<int()> add_evaluate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->root = default_suites_root();
  options->engine.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (const char* kernels = std::getenv("QUANTFLEET_KERNELS")) options->engine.kernels = kernels;
  app.add_option("MODEL", options->engine.model, "GGUF file or Hugging Face folder")->required();
  app.add_option("--suite", options->names, "suites by name (default: all)")->expected(1, 64);
  app.add_option("--limit", options->limit, "items of each suite, from the start of its seeded order; 0: all")->check(CLI::Range(0, 1'000'000))->capture_default_str();
  app.add_option("--choice-seed", options->choice_seed, "the options of each question in another order, drawn from this seed (needs --suite)")->check(CLI::Range(1u, 1u << 31));
  app.add_option("--root", options->root, "folder of suites (default: QUANTFLEET_SUITES, else the installed ones)");
  app.add_option("--threads", options->engine.threads, "threads that compute (of no use with --engine)")->check(CLI::Range(1, 1024))->capture_default_str();
  CLI::Option* pin = app.add_flag("--pin", options->engine.pin, "each thread stays on one processor");
  CLI::Option* kernels = app.add_option("--kernels", options->engine.kernels, "scalar, avx2, avx512_vnni, neon, neon_dotprod (default: QUANTFLEET_KERNELS, else the best of this CPU)");
  CLI::Option* activations = app.add_option("--activations", options->activations, "f32 or int8 (default: int8 for quantized models)")->check(CLI::IsMember({"f32", "int8"}));
  CLI::Option* url = app.add_option("--engine", options->engine.server.url, "http://HOST:PORT of an inference server that answers instead of this program; MODEL is then a file with "
                                                                            "the model's tokenizer (docs/external-engines.md)")
                        ->excludes(pin, kernels, activations);  // the server's business
  app.add_option("--dialect", options->dialect, "what kind of server: llama-server, vllm, tabbyapi, ollama, or openai (completions protocol)")->capture_default_str()->needs(url);
  app.add_option("--engine-model", options->engine.server.model, "the model's name at the server (default: the only one it has)")->needs(url);
  app.add_option("--engine-timeout", options->engine.server.timeout_s, "seconds that one answer may take")->check(CLI::Range(0.1, 86400.0))->capture_default_str()->needs(url);
  app.add_option("--engine-connections", options->engine.server.connections, "requests at once")->check(CLI::Range(1, 256))->capture_default_str()->needs(url);
  if (const char* key = std::getenv("QUANTFLEET_ENGINE_KEY")) options->engine.server.key = key;
  add_kv_option(app, options->engine.kv)->excludes(url);
  add_lora_option(app, options->lora);
  app.add_flag("--json", options->json, "one JSON document on stdout, with a row per item");
  return [options] { return evaluate(*options); };
}

}  // namespace quantfleet::cli
