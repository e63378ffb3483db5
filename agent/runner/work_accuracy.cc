// Accuracy work: items of a suite -> requests -> an engine -> scores, a row per item as soon as it is known. Reference-logits
// work is the same without scores: the engine writes the baseline's logits on a rolling suite into the artifact.
#include "agent/runner/open_model.h"
#include "agent/runner/suite_of_lease.h"
#include "agent/runner/work.h"
#include "agent/sandbox/sandbox.h"
#include "backends/formats/file_hash.h"
#include "contract/response_record.h"
#include "suites/bundle.h"
#include "suites/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

namespace quantfleet::agent {
namespace {

// Requests that the engine gets together: as a rule a whole unit, so that what its items share is read once. After a crash those
// without an answer are asked again one at a time, until the one that crashes is known.
constexpr std::size_t kItemsAtOnce = 1024;
constexpr std::size_t kRowBytesMax = 4u << 20;

struct Items {
  std::shared_ptr<const Suite> suite;
  std::vector<int> indices;  // to answer, ascending
};

Result<Items> items_of(const RunnerTask& task, const std::string& suite_name, int begin, int end, const std::vector<int>& chosen, std::uint64_t choice_seed = 0) {
  if (!task.suite_bundle.empty())
    if (const Status unpacked = unpack_suite_bundle(task.suite_bundle, task.suites_root); !unpacked) return unpacked.error();
  Result<std::shared_ptr<const Suite>> suite = suite_of_lease(task.suites_root, suite_name, {choice_seed});
  if (!suite) return suite.error();
  Items items{*suite, chosen};
  if (chosen.empty())
    for (int index = begin; index < end; ++index) items.indices.push_back(index);
  for (const int index : items.indices)
    if (index < 0 || index >= items.suite->size())
      return Error{Code::kBadValue, fmt::format("suite {} has {} items, the lease asks for number {}", suite_name, items.suite->size(), index)};
  const std::set<int> done(task.skip.begin(), task.skip.end());
  std::erase_if(items.indices, [&](int index) { return done.contains(index); });
  return items;
}

ItemResult failed_row(const Suite& suite, int index, Error error) {
  ItemResult row;
  row.item = suite.item_id(index);
  row.index = index;
  row.error = std::move(error);
  return row;
}

ItemResult scored_row(const Suite& suite, int index, const Request& request, const Response& response, const CodeRunner* code_runner) {
  ItemResult row = suite.score(index, response, code_runner);
  keep_evidence(request, response, row);
  const std::string asked = canonical_text(request);
  row.request_sha256 = sha256_of_bytes(std::as_bytes(std::span(asked)));
  row.item = suite.item_id(index);
  row.index = index;
  row.prompt_tokens = response.prompt_tokens;
  row.generated_tokens = response.generated_tokens;
  row.first_token_ms = response.first_token_ms;
  row.total_ms = response.total_ms;
  row.logits_digest = response.logits_digest;
  if (row.output.size() > kRowBytesMax)
    row.error = Error{Code::kTooLarge, fmt::format("the answer has {} bytes, at most {} are kept", row.output.size(), kRowBytesMax)};
  if (row.error) row.scores.clear();
  return row;
}

// Asks the engine for all items, in batches; `on_response(index, request, response)` for each.
template <class OnResponse>
void answer_all(Engine& engine, const RunnerTask& task, const Items& items, Report& report, const OnResponse& on_response) {
  const std::size_t at_once = task.one_at_a_time ? 1 : kItemsAtOnce;
  for (std::size_t begin = 0; begin < items.indices.size(); begin += at_once) {
    const std::size_t end = std::min(begin + at_once, items.indices.size());
    RunnerBegan began;
    std::vector<int> asked;
    std::vector<Request> requests;
    std::vector<std::pair<int, Error>> unasked;
    for (std::size_t i = begin; i < end; ++i) {
      const int index = items.indices[i];
      began.items.emplace_back(index, items.suite->item_id(index));
      Result<Request> request = items.suite->request(index, engine.info().chat_template);
      if (request) {
        asked.push_back(index);
        requests.push_back(std::move(*request));
      } else {
        unasked.emplace_back(index, request.error());
      }
    }
    report.say(began);
    for (auto& [index, error] : unasked) on_response(index, Request(), Result<Response>(std::move(error)));
    if (requests.empty()) continue;
    engine.answer(requests, [&](std::size_t i, Result<Response> response) {
      on_response(asked.at(i), requests.at(i), std::move(response));
      return true;
    });
  }
}

}  // namespace

Result<UnitFinished> carry_out(const RunnerTask& task, const AccuracyWork& work, Report& report) {
  const Result<Items> items = items_of(task, work.suite, work.item_begin, work.item_end, work.items, work.choice_seed);
  if (!items) return items.error();
  const Suite& suite = *items->suite;
  std::optional<Sandbox> sandbox;
  if (suite.info().kind == "code") sandbox.emplace();
  const CodeRunner* code_runner = sandbox ? &*sandbox : nullptr;
  Result<EngineOptions> options = engine_options(task, work.activations, work.kv, work.lora);
  if (!options) return options.error();
  options->reference_logits_in = task.reference_logits;
  Result<std::unique_ptr<Engine>> engine = open_engine(task, *options);
  if (!engine) return engine.error();
  if (const std::string& kind = suite.info().kind; !(*engine)->info().scores_prompts && (kind == "loglikelihood" || kind == "rolling"))
    return Error{Code::kUnsupported, fmt::format("suite {} asks for log-likelihoods, and {} does not return the log-probabilities of a prompt", suite.info().name, (*engine)->info().engine)};

  answer_all(**engine, task, *items, report, [&](int index, const Request& request, Result<Response> response) {
    report.say(response ? scored_row(suite, index, request, *response, code_runner) : failed_row(suite, index, response.error()));
  });
  UnitFinished finished;
  finished.provenance = provenance_of(task, (*engine)->info(), work.format);
  finished.provenance.suite = suite.info().name;
  finished.provenance.suite_version = suite.info().version;
  finished.provenance.suite_sha256 = suite.info().sha256;
  return finished;
}

Result<UnitFinished> carry_out(const RunnerTask& task, const ReferenceLogitsWork& work, Report& report) {
  const Result<Items> items = items_of(task, work.suite, work.item_begin, work.item_end, {});
  if (!items) return items.error();
  UnitFinished finished;
  {
    Result<EngineOptions> options = engine_options(task, work.activations, "f32", work.lora);
    if (!options) return options.error();
    options->reference_logits_out = task.output;
    Result<std::unique_ptr<Engine>> engine = open_engine(task, *options);
    if (!engine) return engine.error();
    std::optional<Error> first_error;
    answer_all(**engine, task, *items, report, [&](int index, const Request&, Result<Response> response) {
      if (!response && !first_error) first_error = at(fmt::format("item {}", items->suite->item_id(index).value), response.error());
    });
    if (first_error) return *first_error;
    finished.provenance = provenance_of(task, (*engine)->info(), "");
  }  // the engine completes the file when it closes
  const Result<std::string> hash = sha256_of_file(task.output);
  if (!hash) return hash.error();
  std::error_code why;
  const std::uintmax_t bytes = std::filesystem::file_size(task.output, why);
  if (why) return Error{Code::kIo, fmt::format("{}: {}", task.output.string(), why.message())};
  finished.artifact = Artifact{*hash, bytes, "reference_logits", {}};
  finished.provenance.suite = items->suite->info().name;
  finished.provenance.suite_version = items->suite->info().version;
  finished.provenance.suite_sha256 = items->suite->info().sha256;
  return finished;
}

}  // namespace quantfleet::agent
