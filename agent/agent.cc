#include "agent/agent.h"

#include "agent/artifacts/artifact_cache.h"
#include "agent/artifacts/artifact_client.h"
#include "agent/outbox/outbox.h"
#include "agent/registration.h"
#include "agent/runner/host_lock.h"
#include "agent/runner/lease_runner.h"
#include "agent/runner/startup_selftest.h"
#include "agent/session.h"
#include "agent/telemetry/telemetry.h"
#include "agent/transport/control_link.h"
#include "agent/transport/curve.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kSelftestLimit{300};  // half a second on a desktop; scalar kernels on a small board need longer

Time monotonic_now() {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now().time_since_epoch());
}

template <class... Args>
void log(fmt::format_string<Args...> format, Args&&... args) {
  const std::time_t now = std::time(nullptr);
  std::string line = fmt::format("{:%Y-%m-%dT%H:%M:%SZ} ", fmt::gmtime(now)) + fmt::format(format, std::forward<Args>(args)...) + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

// Events from the worker thread to the control thread; its descriptor is readable while there are any.
class Mailbox {
 public:
  Mailbox() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Mailbox() { ::close(fd_); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  void put(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    const std::uint64_t one = 1;
    (void)!::write(fd_, &one, sizeof one);
  }
  std::vector<Event> take() {
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    (void)!::read(fd_, &count, sizeof count);
    return std::exchange(events_, {});
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<Event> events_;
};

class SignalFd {
 public:
  SignalFd() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::sigaddset(&set, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // before any thread is started
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~SignalFd() { ::close(fd_); }
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;
  int fd() const { return fd_; }
  int take() {  // the signal, 0: none
    signalfd_siginfo info{};
    return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  int fd_ = -1;
};

class Agent {
 public:
  Agent(const AgentOptions& options, KeyPair keys, std::string coordinator_key, Register registration, ArtifactCache cache,
        std::unique_ptr<OutboxLog> outbox_log, Outbox outbox)
      : options_(options),
        outbox_log_(std::move(outbox_log)),
        outbox_(std::move(outbox)),
        cache_(std::move(cache)),
        link_(context_, options.coordinator, keys, coordinator_key),
        artifacts_(context_, cache_, {"", keys, coordinator_key}),
        telemetry_(all_sensors()),
        session_({std::move(registration)}) {
    lease_options_.work_directory = options.state / "work";
    lease_options_.stderr_path = options.runner_stderr;
    lease_options_.suites_root = options.suites_root;
    lease_options_.host_lock = options.host_lock.empty() ? HostLock::default_prefix() : options.host_lock;
    lease_options_.kernels = options.kernels;
    lease_options_.threads = options.threads;
    lease_options_.pin = options.pin;
    lease_options_.engines = options.engines;
    if (!options.runner_program.empty()) lease_options_.program = options.runner_program;
  }
  ~Agent() { stop_worker(); }

  int run(SignalFd& signals) {
    perform(session_.on(OutboxChanged{outbox_.empty(), outbox_.full()}, monotonic_now()));
    while (!exit_code_) {
      const Time now = monotonic_now();
      perform(session_.on(Tick{}, now));
      send_outbox(now);
      if (exit_code_) break;
      wait(now);
      take_link_events();
      while (std::optional<std::string> bytes = link_.receive()) take_message(*bytes);
      for (Event& event : mailbox_.take()) {
        if (const auto* finished = std::get_if<RunnerFinished>(&event)) {
          say_finished(finished->result);
          session_.registration().artifacts = cache_.hashes();  // a new registration lists what is cached by then
        }
        perform(session_.on(event, monotonic_now()));
      }
      take_signal(signals.take());
    }
    return *exit_code_;
  }

  int signal_fd = -1;

 private:
  void wait(Time now) {
    Time until = session_.next_tick();
    if (!outbox_.empty() && registered_) until = std::min(until, outbox_.next_due());
    const Time timeout = std::clamp(until - now, Time(0), Time(1000));
    zmq::pollitem_t items[] = {{link_.socket(), 0, ZMQ_POLLIN, 0},
                               {link_.monitor(), 0, ZMQ_POLLIN, 0},
                               {nullptr, mailbox_.fd(), ZMQ_POLLIN, 0},
                               {nullptr, signal_fd, ZMQ_POLLIN, 0}};
    try {
      zmq::poll(items, 4, timeout);
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }

  void take_link_events() {
    const ControlLink::Events events = link_.events();
    if (events.connected) log("connected to {}", options_.coordinator);
    if (events.disconnected) log("lost the link to {}; trying again", options_.coordinator);
    if (events.refused) stop(at(options_.coordinator, *events.refused));
  }

  void take_message(const std::string& bytes) {
    Result<CoordinatorMessage> message = decode_coordinator_message(bytes);
    if (!message) {
      log("ignored a message of the coordinator: {}", message.error().detail);
      return;
    }
    if (const auto* refused = std::get_if<Refused>(&*message)) {
      log("the coordinator says: {}", refused->error.detail);
      registered_ = false;
    }
    perform(session_.on(Received{std::move(*message)}, monotonic_now()));
  }

  void take_signal(int signal) {
    if (signal == 0) return;
    if (draining_) {
      stop_worker();
      log("stopped");
      exit_code_ = quantfleet::exit_code(Code::kInterrupted);
      return;
    }
    draining_ = true;
    if (signal == SIGINT) drained_exit_code_ = quantfleet::exit_code(Code::kInterrupted);
    log("{}: finishing what runs, taking no more work (again: stop now)", signal == SIGTERM ? "SIGTERM" : "Ctrl-C");
    perform(session_.on(DrainRequested{}, monotonic_now()));
  }

  void stop(Error error) {
    if (error.code == Code::kNotAdmitted)
      error.detail += fmt::format("; on the coordinator's machine run: quantfleet key trust '{}' --name {}", session_key_, options_.name);
    fmt::print(stderr, "quantfleet-agent: {}\n", error.detail);
    exit_code_ = quantfleet::exit_code(error.code) == 1 ? 4 : quantfleet::exit_code(error.code);
  }

  void perform(const Decision& decision) {
    if (decision.stop_runner) stop_worker();
    for (const Durable& message : decision.store) {
      if (Status stored = outbox_.append(message); !stored) {
        // Nothing measured may be lost in silence: without a durable outbox this agent is of no use.
        stop(at("results cannot be kept", stored.error()));
        return;
      }
    }
    if (decision.acknowledged) {
      if (Status done = outbox_.acknowledge(*decision.acknowledged); !done) return stop(done.error());
    }
    if (decision.resend_outbox) outbox_.resend_now();
    for (const AgentMessage& message : decision.send) link_.send(encode(message));
    if (decision.registered) {
      if (!registered_) log("registered with {} as {}", options_.coordinator, options_.name);
      registered_ = true;
      const std::string endpoint = resolve_endpoint(decision.registered->artifact_endpoint, options_.coordinator);
      const std::lock_guard lock(endpoint_mutex_);
      artifact_endpoint_ = endpoint;
    }
    if (decision.start) start_worker(*decision.start);
    if (decision.stop) stop(*decision.stop);
    if (decision.gone) {
      log("drained");
      link_.flush();
      exit_code_ = drained_exit_code_;
    }
    if (!decision.store.empty() || decision.acknowledged)
      perform(session_.on(OutboxChanged{outbox_.empty(), outbox_.full()}, monotonic_now()));
  }

  void send_outbox(Time now) {
    if (!registered_) return;
    if (const std::optional<std::string> message = outbox_.due(now)) link_.send(*message);
  }

  void start_worker(const GrantLease& lease) {
    stop_worker();
    stop_flag_ = std::make_unique<StopFlag>();
    log("unit {}", lease.unit.value);
    worker_ = std::thread([this, lease, stop = stop_flag_.get()] {
      {
        const std::lock_guard lock(endpoint_mutex_);
        artifacts_.set_endpoint(artifact_endpoint_);
      }
      LeaseEvents events;
      events.rows = [&](std::vector<ItemResult> rows) { mailbox_.put(RowsMeasured{lease.unit, lease.epoch, std::move(rows)}); };
      UnitFinished finished;
      try {
        finished = carry_out_lease(lease, lease_options_, artifacts_, &telemetry_, events, *stop);
      } catch (const std::exception& error) {  // the lease's border: out of memory, a broken socket
        finished.unit = lease.unit;
        finished.epoch = lease.epoch;
        finished.error = Error{Code::kIo, fmt::format("the agent could not carry out the unit: {}", error.what())};
        finished.retryable = true;
      }
      mailbox_.put(RunnerFinished{std::move(finished)});
    });
  }

  void stop_worker() {
    if (stop_flag_) stop_flag_->set();
    if (worker_.joinable()) worker_.join();
  }

  void say_finished(const UnitFinished& finished) {
    if (finished.error) log("unit {} failed: {}", finished.unit.value, finished.error->detail);
  }

  const AgentOptions& options_;
  zmq::context_t context_;
  std::unique_ptr<OutboxLog> outbox_log_;
  Outbox outbox_;
  ArtifactCache cache_;
  ControlLink link_;
  ArtifactClient artifacts_;          // of the worker thread while one runs
  Telemetry telemetry_;
  Session session_;
  LeaseRunnerOptions lease_options_;
  Mailbox mailbox_;
  std::mutex endpoint_mutex_;
  std::string artifact_endpoint_;
  std::unique_ptr<StopFlag> stop_flag_;
  std::thread worker_;
  bool registered_ = false;
  bool draining_ = false;
  std::optional<int> exit_code_;
  int drained_exit_code_ = 0;              // SIGTERM is how a service ends; Ctrl-C is an interruption

 public:
  std::string session_key_;
};

int fail(const Error& error) {
  fmt::print(stderr, "quantfleet-agent: {}\n", error.detail);
  return exit_code(error.code);
}

// The digests for the registration; none where the self-test could not run, which the log says. A machine that fails takes
// part, with its digests shown: whoever reads its results must be able to see that they are another arithmetic's.
std::map<std::string, std::string> startup_selftest(const AgentOptions& options) {
  const std::vector<std::string> program =
      options.runner_program.empty() ? LeaseRunnerOptions{}.program : options.runner_program;
  const Result<SelftestResult> result =
      selftest_in_runner(program, {options.selftest_model, options.kernels, options.threads}, options.runner_stderr, kSelftestLimit);
  if (!result) {
    log("self-test not run: {}", result.error().detail);
    return {};
  }
  const Result<SelftestVerdict> verdict = selftest_verdict(*result, options.selftest_model.parent_path() / "selftest.json");
  log("self-test: {}", verdict ? verdict->sentence : verdict.error().detail);
  return result->digests;
}

}  // namespace

Result<std::string> agent_public_key(const fs::path& state) {
  const Result<KeyPair> keys = read_or_make_key_pair(state / "keys/agent");
  if (!keys) return keys.error();
  return keys->public_z85;
}

int run_agent(const AgentOptions& given) {
  SignalFd signals;
  AgentOptions options = given;
  std::error_code why;
  for (const char* directory : {"keys", "work"}) {
    fs::create_directories(options.state / directory, why);
    if (why) return fail({Code::kPermission, fmt::format("{}: cannot create the state directory: {}", options.state.string(), why.message())});
  }
  for (const auto& left : fs::directory_iterator(options.state / "work", why)) fs::remove(left.path(), why);  // of a crash
  const Result<KeyPair> keys = read_or_make_key_pair(options.state / "keys/agent");
  if (!keys) return fail(keys.error());
  const Result<std::string> coordinator_key =
      public_key_from(options.coordinator_key.empty() ? (options.state / "keys/coordinator.public").string() : options.coordinator_key);
  if (!coordinator_key) return fail(at("the coordinator's public key", coordinator_key.error()));
  Result<ArtifactCache> cache = ArtifactCache::open({options.state / "cache", options.seed_artifacts, options.cache_bytes_max});
  if (!cache) return fail(cache.error());
  Result<std::unique_ptr<OutboxLog>> log_file = open_outbox_file(options.state / "outbox.log");
  if (!log_file) return fail(log_file.error());
  OutboxOptions outbox_options;
  // A lost state directory must not number again from 1: old acknowledgements would match new results.
  outbox_options.first_sequence = static_cast<std::uint64_t>(std::time(nullptr)) * 1000;
  Result<Outbox> outbox = Outbox::open(**log_file, outbox_options);
  if (!outbox) return fail(at((options.state / "outbox.log").string(), outbox.error()));

  Result<Register> registration = make_registration(options.suites_root, options.engines);
  if (!registration) return fail(registration.error());
  if (options.name.empty()) options.name = registration->device.hostname;
  if (options.threads <= 0) options.threads = registration->device.cores;
  registration->name = options.name;
  registration->labels = options.labels;
  registration->artifacts = cache->hashes();
  if (!options.selftest_model.empty()) registration->selftest = startup_selftest(options);
  log("agent {} with key {}, {} threads, {} suites", options.name, keys->public_z85, options.threads, registration->suites.size());
  try {
    Agent agent(options, *keys, *coordinator_key, std::move(*registration), std::move(*cache), std::move(*log_file), std::move(*outbox));
    agent.signal_fd = signals.fd();
    agent.session_key_ = keys->public_z85;
    return agent.run(signals);
  } catch (const zmq::error_t& error) {
    return fail({error.num() == EINVAL ? Code::kUsage : Code::kIo, fmt::format("{}: {}", options.coordinator, error.what())});
  }
}

}  // namespace quantfleet::agent
