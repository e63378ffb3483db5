#include "cli/local_run.h"

#include "agent/artifacts/artifact_source.h"
#include "agent/registration.h"
#include "agent/runner/host_lock.h"
#include "agent/runner/lease_runner.h"
#include "agent/session.h"
#include "agent/telemetry/telemetry.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/peft_adapter.h"
#include "backends/kernels/kernels.h"
#include "backends/models/config.h"
#include "backends/tokenizers/tokenizer.h"
#include "cli/informative_items.h"
#include "cli/plan_file.h"
#include "cli/suite_bundles.h"
#include "cli/token_probes.h"
#include "coordinator/artifacts/artifact_directory.h"
#include "coordinator/coordinator.h"
#include "coordinator/store/store.h"
#include "reports/statistics/sequential.h"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

namespace quantfleet::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

coordinator::Time wall_now() { return std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()); }
agent::Time monotonic_now() { return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()); }

// Artifacts without a network: fetched and stored where the coordinator keeps them.
class DirectArtifacts : public agent::ArtifactSource {
 public:
  explicit DirectArtifacts(coordinator::ArtifactDirectory& directory) : directory_(directory) {}
  Result<fs::path> fetch(const std::string& sha256, const agent::StopFlag&) override {
    if (!directory_.contains(sha256)) return Error{Code::kNotFound, fmt::format("artifact {} is not in {}", sha256, directory_.path_of(sha256).string())};
    return directory_.path_of(sha256);
  }
  Status store(const fs::path& file, const Artifact& artifact, const agent::StopFlag&) override {
    const Status adopted = directory_.adopt(file, artifact.sha256);
    std::error_code ignored;
    fs::remove(file, ignored);
    return adopted;
  }
  void release() override {}

 private:
  coordinator::ArtifactDirectory& directory_;
};

// Of a plan's models what can be known without reading their weights. A server's model is here for its tokenizer alone.
Status check_models(const JobSpec& spec) {
  for (const ModelSpec& model : spec.models) {
    if (model.path.empty()) continue;
    const auto file = open_model_file(model.path);
    if (!file) return file.error();
    if (const auto tokenizer = Tokenizer::from_gguf(**file); !tokenizer) return at(model.path, tokenizer.error());
    if (model.engine.empty())
      if (const auto config = read_model_config(**file); !config) return at(model.path, config.error());
    for (const LoraSpec& adapter : model.lora)
      if (!adapter.path.empty())
        if (const auto opened = open_lora_adapter(adapter.path, **file); !opened) return opened.error();
  }
  return {};
}

// What the plan calls the files that are artifacts now.
using PlanNames = std::vector<std::pair<std::string, std::string>>;  // path of the artifact, path in the plan

std::string in_plan_names(std::string text, const PlanNames& names) {
  for (const auto& [artifact, plan] : names)
    for (std::size_t place = 0; (place = text.find(artifact, place)) != std::string::npos; place += plan.size()) text.replace(place, artifact.size(), plan);
  return text;
}

// A failed unit's reason is "CODE: DETAIL" (coordinator.cc).
Error error_of(const std::string& reason) {
  Error error{Code::kIo, reason};
  const std::size_t colon = reason.find(": ");
  if (colon != std::string::npos && code_from_name(reason.substr(0, colon), error.code)) error.detail.erase(0, colon + 2);
  return error;
}

// A plan as it was asked, before items were chosen for it.
std::string hash_as_asked(JobSpec spec) {
  for (SuiteSpec& suite : spec.suites)
    if (suite.most_telling > 0) suite.chosen.clear();
  return coordinator::plan_sha256(spec);
}

coordinator::Options options_with_statistics(const fs::path& database) {
  coordinator::Options options;
  options.item_chooser = std::make_shared<HistoryChooser>(database);
  options.stopping_rule = std::make_shared<statistics::BettingRule>();
  return options;
}

class LocalRun {
 public:
  LocalRun(coordinator::Store& store, const fs::path& database, coordinator::ArtifactDirectory& artifacts, Register registration, agent::LeaseRunnerOptions lease_options,
           PlanNames names)
      : store_(store), artifacts_(artifacts), direct_(artifacts), core_(options_with_statistics(database)), session_({std::move(registration), {}, {}}),
        lease_options_(std::move(lease_options)), names_(std::move(names)), telemetry_(agent::all_sensors()) {
    core_.restore(store_.load(), wall_now());
  }
  ~LocalRun() { stop_worker(); }

  void connect() {
    // What an interrupted run left leased to this machine is queued again at once instead of when its lease expires.
    hear(session_.registration());
    hear(Goodbye{});
    perform(session_.on(agent::Tick{}, monotonic_now()));
    deliver();
  }

  Result<JobId> submit_or_continue(JobSpec spec) {
    coordinator::settle_night(spec, wall_now());
    for (const auto& [id, job] : core_.jobs())
      if (!job.cancelled && hash_as_asked(job.spec) == hash_as_asked(spec) && !finished(id)) return id;
    coordinator::Decision decision;
    Result<JobId> id = core_.submit(spec, wall_now(), decision);
    if (id) perform(decision);
    return id;
  }

  bool finished(const JobId& job) const {
    for (const auto& [id, unit] : core_.units())
      if (unit.job == job && !coordinator::is_final(unit.state)) return false;
    return true;
  }

  void add_failures(LocalRunEnd& end) const {
    for (const auto& [id, unit] : core_.units()) {
      if (unit.job != end.run) continue;
      ++end.units;
      if (const auto* failed = std::get_if<coordinator::Failed>(&unit.state)) end.failures.push_back(error_of(failed->reason));
    }
  }

  RunCounts counts(const JobId& job) const {
    RunCounts counts;
    std::map<std::string, int> by_state;
    for (const auto& [id, unit] : core_.units()) {
      if (unit.job != job) continue;
      ++by_state[std::string(name_of(unit.state))];
      RunCounts::Kind& kind = counts.units[std::string(kind_of(unit.work))];
      ++kind.total;
      counts.items_total += unit.items;
      if (coordinator::is_final(unit.state)) {
        ++kind.done;
        counts.items_done += unit.items;
        if (!coordinator::is<coordinator::Done>(unit.state) && !coordinator::is_decided(unit.state)) ++counts.failed;
      } else {
        counts.items_done += core_.items_in(id);
      }
    }
    counts.status = coordinator::status_of(by_state, core_.jobs().at(job).cancelled);
    return counts;
  }

  // Waits for the runner or the clock and does what is due.
  void step() {
    std::vector<agent::Event> events;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, milliseconds(100), [&] { return !events_.empty(); });
      events = std::exchange(events_, {});
    }
    for (const agent::Event& event : events) perform(session_.on(event, monotonic_now()));
    perform(session_.on(agent::Tick{}, monotonic_now()));
    deliver();
    perform(core_.tick(wall_now()));
    deliver();
  }

 private:
  // A message of the agent: first write, then send.
  void hear(const AgentMessage& message) {
    bool artifact_present = false;
    if (const auto* finished = std::get_if<UnitFinished>(&message); finished && finished->artifact)
      artifact_present = artifacts_.contains(finished->artifact->sha256);
    perform(core_.on(kLocal, message, artifact_present, wall_now()));
  }

  void perform(const coordinator::Decision& decision) {
    if (!decision.write.empty()) store_.apply(decision.write);
    for (const coordinator::Send& send : decision.send)
      if (send.to == kLocal) inbox_.push_back(send.message);
  }

  void perform(const agent::Decision& decision) {
    if (decision.stop_runner) stop_worker();
    for (const agent::Durable& result : decision.store)  // stored by the core before this returns: no outbox between
      std::visit([&](auto message) {
        message.sequence = ++sequence_;
        hear(message);
      }, result);
    for (const AgentMessage& message : decision.send) hear(message);
    if (decision.start) start_worker(*decision.start);
    if (decision.stop) throw BadResult(*decision.stop);
  }

  void deliver() {
    while (!inbox_.empty()) {
      const agent::Received received{std::move(inbox_.front())};
      inbox_.pop_front();
      perform(session_.on(received, monotonic_now()));
    }
  }

  void start_worker(const GrantLease& lease) {
    stop_worker();
    stop_flag_ = std::make_unique<agent::StopFlag>();
    worker_ = std::thread([this, lease, stop = stop_flag_.get()] {
      agent::LeaseEvents events;
      events.rows = [&](std::vector<ItemResult> rows) {
        for (ItemResult& row : rows)
          if (row.error) row.error->detail = in_plan_names(row.error->detail, names_);
        put(agent::RowsMeasured{lease.unit, lease.epoch, std::move(rows)});
      };
      UnitFinished finished = agent::carry_out_lease(lease, lease_options_, direct_, &telemetry_, events, *stop);
      if (finished.error) finished.error->detail = in_plan_names(finished.error->detail, names_);
      if (const auto* quantize = std::get_if<QuantizeWork>(&lease.work); quantize && finished.artifact)
        names_.emplace_back(artifacts_.path_of(finished.artifact->sha256).string(),
                            fmt::format("{} as {}", in_plan_names(artifacts_.path_of(quantize->model_sha256).string(), names_), quantize->format));
      put(agent::RunnerFinished{std::move(finished)});
    });
  }

  void stop_worker() {
    if (stop_flag_) stop_flag_->set();
    if (worker_.joinable()) worker_.join();
  }

  void put(agent::Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    wake_.notify_one();
  }

  const AgentId kLocal{"local"};
  coordinator::Store& store_;
  coordinator::ArtifactDirectory& artifacts_;
  DirectArtifacts direct_;
  coordinator::Coordinator core_;
  agent::Session session_;
  agent::LeaseRunnerOptions lease_options_;
  PlanNames names_;                        // the worker's while there is one
  agent::Telemetry telemetry_;
  std::deque<CoordinatorMessage> inbox_;
  std::uint64_t sequence_ = 0;
  std::mutex mutex_;                       // guards events_
  std::condition_variable wake_;
  std::vector<agent::Event> events_;
  std::unique_ptr<agent::StopFlag> stop_flag_;
  std::thread worker_;
};

}  // namespace

Result<LocalRunEnd> run_locally(JobSpec spec, const LocalRunOptions& options,
                                const std::function<void(const JobId&, const RunCounts&)>& progress, const std::function<bool()>& stop) {
  if (const auto family = find_kernels(options.kernels); !family) return family.error();
  if (const Status usable = check_models(spec); !usable) return usable.error();
  const fs::path folder = options.database.has_parent_path() ? options.database.parent_path() : fs::path(".");
  const fs::path artifact_root = options.artifacts.empty() ? folder / "artifacts" : options.artifacts;
  std::error_code why;
  fs::create_directories(folder, why);
  Result<std::unique_ptr<coordinator::Store>> store = coordinator::open_sqlite_store(options.database);
  if (!store) return store.error();
  Result<std::unique_ptr<coordinator::ArtifactDirectory>> artifacts = coordinator::ArtifactDirectory::open(artifact_root);
  if (!artifacts) return artifacts.error();
  PlanNames names;
  const auto keep = [&](std::string& path, std::string& sha256, std::string in_plan = {}) -> Status {
    if (path.empty()) return {};
    if (in_plan.empty()) in_plan = path;
    const Result<std::string> hash = coordinator::sha256_of_file(path);
    if (!hash) return hash.error();
    if (Status adopted = (*artifacts)->adopt(path, *hash); !adopted) return adopted;
    sha256 = *hash;
    names.emplace_back((*artifacts)->path_of(sha256).string(), std::move(in_plan));
    path.clear();
    return {};
  };
  const auto probes = write_token_probes(spec, artifact_root / "work");
  if (!probes) return probes.error();
  for (const TokenProbesFile& file : *probes) {
    const Status adopted = (*artifacts)->adopt(file.path, file.sha256);
    fs::remove(file.path, why);
    if (!adopted) return adopted.error();
  }
  for (ModelSpec& model : spec.models) {
    const Result<fs::path> packed = pack_model(model, artifact_root / "work");
    if (!packed) return at(fmt::format("model {}", model.name), packed.error());
    const std::string in_plan = std::exchange(model.path, packed->string());
    const bool is_folder = *packed != fs::path(in_plan);
    const Status kept = keep(model.path, model.sha256, in_plan);
    if (is_folder) fs::remove(*packed, why);
    if (!kept) return at(fmt::format("model {}", model.name), kept.error());
    for (LoraSpec& adapter : model.lora)
      if (const Status stored = keep(adapter.path, adapter.sha256); !stored) return at(fmt::format("model {}: its adapter", model.name), stored.error());
  }
  for (FormatRecipe& recipe : spec.recipes)
    for (const auto& [path, sha256] : {std::pair(&recipe.text, &recipe.text_sha256), std::pair(&recipe.imatrix, &recipe.imatrix_sha256)})
      if (const Status kept = keep(*path, *sha256); !kept) return at(fmt::format("format {}", recipe.name), kept.error());
  // Suites that are not built in are kept with the models, so that the run can be repeated from its artifacts.
  const auto bundles = bundle_suites(spec, options.suites_root, artifact_root / "work");
  if (!bundles) return bundles.error();
  for (const SuiteBundle& bundle : *bundles) {
    const Status adopted = (*artifacts)->adopt(bundle.file, bundle.sha256);
    fs::remove(bundle.file, why);
    if (!adopted) return adopted.error();
  }
  Result<Register> registration = agent::make_registration(options.suites_root, options.engines);
  if (!registration) return registration.error();
  registration->name = registration->device.hostname;

  agent::LeaseRunnerOptions lease_options;
  lease_options.work_directory = artifact_root / "work";
  lease_options.suites_root = options.suites_root;
  lease_options.host_lock = agent::HostLock::default_prefix();
  lease_options.kernels = options.kernels;
  lease_options.engines = options.engines;
  lease_options.threads = options.threads > 0 ? options.threads : registration->device.cores;
  fs::create_directories(lease_options.work_directory, why);
  if (why) return Error{Code::kPermission, fmt::format("{}: {}", lease_options.work_directory.string(), why.message())};

  LocalRun run(**store, options.database, **artifacts, std::move(*registration), std::move(lease_options), std::move(names));
  run.connect();
  const Result<JobId> id = run.submit_or_continue(spec);
  if (!id) return id.error();
  LocalRunEnd end;
  end.run = *id;
  while (!run.finished(*id)) {
    if (stop()) {
      end.interrupted = true;
      break;
    }
    run.step();
    progress(*id, run.counts(*id));
  }
  end.status = run.counts(*id).status;
  run.add_failures(end);
  return end;
}

}  // namespace quantfleet::cli
