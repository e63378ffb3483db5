#include "agent/runner/lease_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <optional>
#include <set>
#include <tuple>

#include <unistd.h>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kRowsPerBatch = 32;
constexpr std::size_t kBatchBytes = 1u << 20;      // about
constexpr milliseconds kBatchDelay{250};           // a row waits at most this long for company
constexpr int kDeathsMax = 5;                      // without a row between
constexpr std::size_t kItemsSideBySide = 64;       // of those under way, as many as an engine has in a batch

std::string bundle_of(const Work& work) {
  if (const auto* accuracy = std::get_if<AccuracyWork>(&work)) return accuracy->suite_bundle_sha256;
  if (const auto* reference = std::get_if<ReferenceLogitsWork>(&work)) return reference->suite_bundle_sha256;
  return {};
}

std::vector<LoraUse> lora_of(const Work& work) {
  if (const auto* accuracy = std::get_if<AccuracyWork>(&work)) return accuracy->lora;
  if (const auto* reference = std::get_if<ReferenceLogitsWork>(&work)) return reference->lora;
  if (const auto* timing = std::get_if<TimingWork>(&work)) return timing->lora;
  return {};
}

std::size_t bytes_about(const ItemResult& row) {
  std::size_t bytes = 512 + row.output.size() + row.prompt.size() + 7 * row.prompt_token_ids.size() + row.response.size();
  for (const auto& [name, values] : row.series) bytes += name.size() + 12 * values.size();
  return bytes;
}

class RowBatch {
 public:
  explicit RowBatch(const LeaseEvents& events) : events_(events) {}
  void add(ItemResult row) {
    if (rows_.empty()) since_ = steady_clock::now();
    bytes_ += bytes_about(row);
    rows_.push_back(std::move(row));
    if (rows_.size() >= kRowsPerBatch || bytes_ >= kBatchBytes) flush();
  }
  void flush() {
    if (rows_.empty()) return;
    events_.rows(std::exchange(rows_, {}));
    bytes_ = 0;
  }
  std::optional<steady_clock::time_point> flush_at() const {
    if (rows_.empty()) return std::nullopt;
    return since_ + kBatchDelay;
  }

 private:
  const LeaseEvents& events_;
  std::vector<ItemResult> rows_;
  std::size_t bytes_ = 0;
  steady_clock::time_point since_;
};

class LeaseRun {
 public:
  LeaseRun(const GrantLease& lease, const LeaseRunnerOptions& options, ArtifactSource& artifacts, const LeaseEvents& events, const StopFlag& stop)
      : options_(options), artifacts_(artifacts), events_(events), stop_(stop), batch_(events) {
    task_.lease = lease;
    task_.suites_root = options.suites_root;
    task_.host_lock = options.host_lock;
    task_.kernels = options.kernels;
    task_.threads = options.threads;
    task_.pin = options.pin;
  }
  ~LeaseRun() {
    std::error_code ignored;
    if (!task_.output.empty()) fs::remove(task_.output, ignored), fs::remove_all(folders_beside(task_.output), ignored);
    if (!task_.suite_bundle.empty()) fs::remove_all(task_.suites_root, ignored);
    artifacts_.release();
  }

  UnitFinished run() {
    if (Status ready = fetch(); !ready) return failed(ready.error());
    for (;;) {
      if (std::optional<UnitFinished> finished = run_once()) {
        batch_.flush();
        if (!finished->error && finished->artifact) {
          if (Status stored = artifacts_.store(task_.output, *finished->artifact, stop_); !stored) return failed(stored.error());
        }
        return *finished;
      }
    }
  }

 private:
  UnitFinished failed(Error error) {
    UnitFinished finished;
    finished.retryable = exit_code(error.code) == 4 || error.code == Code::kHashMismatch || error.code == Code::kCrashed ||
                         error.code == Code::kTimeout;
    finished.error = std::move(error);
    return finished;
  }

  Status fetch() {
    const std::string& model = std::visit([](const auto& w) -> const std::string& { return w.model_sha256; }, task_.lease.work);
    Result<fs::path> path = artifacts_.fetch(model, stop_);
    if (!path) return at(fmt::format("model {}", model.substr(0, 12)), path.error());
    task_.model = *path;
    if (const auto* accuracy = std::get_if<AccuracyWork>(&task_.lease.work); accuracy && !accuracy->reference_logits_sha256.empty()) {
      path = artifacts_.fetch(accuracy->reference_logits_sha256, stop_);
      if (!path) return at(fmt::format("reference logits {}", accuracy->reference_logits_sha256.substr(0, 12)), path.error());
      task_.reference_logits = *path;
    }
    for (const LoraUse& use : lora_of(task_.lease.work)) {
      path = artifacts_.fetch(use.sha256, stop_);
      if (!path) return at(fmt::format("adapter {}", use.sha256.substr(0, 12)), path.error());
      task_.adapters.push_back(*path);
    }
    if (const auto* accuracy = std::get_if<AccuracyWork>(&task_.lease.work)) {
      if (!accuracy->token_probes_sha256.empty()) {
        path = artifacts_.fetch(accuracy->token_probes_sha256, stop_);
        if (!path) return at(fmt::format("token probes {}", accuracy->token_probes_sha256.substr(0, 12)), path.error());
        task_.token_probes = *path;
      }
      if (!accuracy->engine.empty()) {
        const auto engine = options_.engines.find(accuracy->engine);
        if (engine == options_.engines.end()) return Error{Code::kUnknownName, fmt::format("this agent has no engine called {}", accuracy->engine)};
        task_.engine = engine->second;
      }
    }
    if (const auto* quantize = std::get_if<QuantizeWork>(&task_.lease.work); quantize && quantize->recipe) {
      const FormatRecipe& recipe = *quantize->recipe;
      for (const auto& [what, hash, file] : {std::tuple("calibration text", &recipe.text_sha256, &task_.text), std::tuple("importance matrix", &recipe.imatrix_sha256, &task_.imatrix)}) {
        if (hash->empty()) continue;
        path = artifacts_.fetch(*hash, stop_);
        if (!path) return at(fmt::format("{} {}", what, hash->substr(0, 12)), path.error());
        *file = *path;
      }
    }
    static std::atomic<unsigned> count = 0;
    if (std::holds_alternative<QuantizeWork>(task_.lease.work) || std::holds_alternative<ReferenceLogitsWork>(task_.lease.work))
      task_.output = options_.work_directory / fmt::format("output-{}-{}.tmp", ::getpid(), count++);
    if (const std::string bundle = bundle_of(task_.lease.work); !bundle.empty()) {
      path = artifacts_.fetch(bundle, stop_);
      if (!path) return at(fmt::format("suite {}", bundle.substr(0, 12)), path.error());
      task_.suite_bundle = *path;
      task_.suites_root = options_.work_directory / fmt::format("suites-{}-{}.tmp", ::getpid(), count++);
    }
    return {};
  }

  // Time for the items under way; nullopt: no limit (waiting for the host).
  std::optional<milliseconds> patience() const {
    if (waiting_) return std::nullopt;
    if (under_way_.empty()) return options_.start_timeout;
    if (const auto* accuracy = std::get_if<AccuracyWork>(&task_.lease.work))
      return milliseconds(static_cast<std::int64_t>(accuracy->item_seconds * 1000 * static_cast<double>(std::min(under_way_.size(), kItemsSideBySide))));
    return options_.repetition_timeout;
  }

  // One runner process: nullopt when it died and another should go on.
  std::optional<UnitFinished> run_once() {
    under_way_.clear();
    waiting_ = false;
    Result<RunnerProcess> runner = RunnerProcess::start(options_.program, options_.stderr_path);
    if (!runner) return failed(runner.error());
    if (Status sent = runner->send(encode(task_)); !sent) {
      const ChildEnd end = runner->end(/*kill=*/true);
      return died(Error{Code::kCrashed, end.what()}, end);
    }
    auto sign_of_life = steady_clock::now();
    std::string line;
    for (;;) {
      const std::optional<milliseconds> limit = patience();
      std::optional<steady_clock::time_point> deadline, wake;
      if (limit) deadline = wake = sign_of_life + *limit;
      if (const auto flush_at = batch_.flush_at()) wake = wake ? std::min(*wake, *flush_at) : *flush_at;
      switch (runner->hear(line, wake, stop_)) {
        case RunnerProcess::Heard::kStopped:
          runner->end(/*kill=*/true);
          return failed(Error{Code::kCancelled, "the lease was cancelled"});
        case RunnerProcess::Heard::kTimeout:
          if (deadline && steady_clock::now() >= *deadline) {
            const ChildEnd end = runner->end(/*kill=*/true);
            return died(Error{Code::kTimeout, fmt::format("no answer within {} s", limit->count() / 1000.0)}, end);
          }
          batch_.flush();
          continue;
        case RunnerProcess::Heard::kEnd: {
          const ChildEnd end = runner->end(/*kill=*/true);  // how it ended is settled before its socket closes
          return died(Error{end.signal == SIGKILL ? Code::kOutOfMemory : Code::kCrashed, end.what()}, end);
        }
        case RunnerProcess::Heard::kLine: break;
      }
      sign_of_life = steady_clock::now();
      Result<RunnerLine> heard = decode_runner_line(line);
      if (!heard) {
        const ChildEnd end = runner->end(/*kill=*/true);
        return died(heard.error(), end);
      }
      if (std::holds_alternative<RunnerWaiting>(*heard)) waiting_ = true;
      else waiting_ = false;
      if (auto* began = std::get_if<RunnerBegan>(&*heard)) under_way_ = std::move(began->items);
      if (auto* row = std::get_if<ItemResult>(&*heard)) add_row(std::move(*row));
      if (std::holds_alternative<RunnerProgress>(*heard)) events_.alive();
      if (auto* finished = std::get_if<UnitFinished>(&*heard)) {
        runner->end(/*kill=*/false);
        return std::move(*finished);
      }
    }
  }

  void add_row(ItemResult row) {
    std::erase_if(under_way_, [&](const auto& item) { return item.first == row.index; });
    if (std::ranges::find(task_.skip, row.index) != task_.skip.end()) return;
    task_.skip.push_back(row.index);
    deaths_ = 0;
    batch_.add(std::move(row));
  }

  // What a dead runner means: an item's error, or another try, or the unit's end.
  std::optional<UnitFinished> died(Error evidence, const ChildEnd& end) {
    batch_.flush();
    const bool has_items = std::holds_alternative<AccuracyWork>(task_.lease.work) || std::holds_alternative<TimingWork>(task_.lease.work);
    if (!has_items || under_way_.empty() || ++deaths_ > kDeathsMax) {
      if (!under_way_.empty()) evidence.detail += fmt::format("; under way: {}", under_way_.front().second.value);
      UnitFinished finished = failed(std::move(evidence));
      TelemetrySeries memory{"peak_memory_bytes", "wait4:ru_maxrss", 1, 0, 0, 0, 0, ""};
      memory.mean = memory.min = memory.max = static_cast<double>(end.peak_memory_bytes);
      finished.telemetry.push_back(std::move(memory));
      return finished;
    }
    if (under_way_.size() > 1) {
      task_.one_at_a_time = true;
      return std::nullopt;
    }
    const int deaths = deaths_;
    ItemResult row;
    row.index = under_way_.front().first;
    row.item = under_way_.front().second;
    evidence.detail = fmt::format("item {}: {}; peak memory {:.1f} MiB", row.item.value, evidence.detail,
                                  static_cast<double>(end.peak_memory_bytes) / (1 << 20));
    row.error = std::move(evidence);
    add_row(std::move(row));
    deaths_ = deaths;  // an error row is no sign of health
    task_.one_at_a_time = false;
    return std::nullopt;
  }

  const LeaseRunnerOptions& options_;
  ArtifactSource& artifacts_;
  const LeaseEvents& events_;
  const StopFlag& stop_;
  RunnerTask task_;
  RowBatch batch_;
  std::vector<std::pair<int, ItemId>> under_way_;
  bool waiting_ = false;
  int deaths_ = 0;
};

}  // namespace

UnitFinished carry_out_lease(const GrantLease& lease, const LeaseRunnerOptions& options, ArtifactSource& artifacts,
                             Telemetry* telemetry, const LeaseEvents& events, const StopFlag& stop) {
  if (telemetry) telemetry->begin();
  UnitFinished finished = LeaseRun(lease, options, artifacts, events, stop).run();
  if (telemetry) std::ranges::move(telemetry->end(), std::back_inserter(finished.telemetry));
  finished.unit = lease.unit;
  finished.epoch = lease.epoch;
  return finished;
}

}  // namespace quantfleet::agent
