#include "coordinator/service.h"

#include "contract/version.h"
#include "coordinator/artifacts/artifact_directory.h"
#include "coordinator/http/api.h"
#include "coordinator/http/http_server.h"
#include "coordinator/http/json_views.h"
#include "coordinator/store/store.h"
#include "coordinator/transport/admission.h"
#include "coordinator/transport/artifact_server.h"
#include "coordinator/transport/server_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <future>
#include <mutex>
#include <queue>

namespace quantfleet::coordinator {
namespace {

namespace fs = std::filesystem;

Time wall_clock() { return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()); }

std::string artifacts_beside(const std::string& listen) {
  const std::size_t colon = listen.rfind(':');
  if (colon == std::string::npos) return listen;
  const std::string port = listen.substr(colon + 1);
  if (port.empty() || port == "*" || port == "0" || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos)
    return listen.substr(0, colon) + ":*";
  return fmt::format("{}:{}", listen.substr(0, colon), std::stoi(port) + 2);
}

class ServiceProcess : public Service {
 public:
  explicit ServiceProcess(ServiceOptions options) : options_(std::move(options)), core_(options_.core) {}

  ~ServiceProcess() override {
    fail_tasks();
    http_.reset();  // its thread may wait for the core
    artifact_server_.reset();
    control_.reset();
    admission_.reset();
    if (wake_ >= 0) ::close(wake_);
    if (lock_ >= 0) {
      std::error_code ignored;
      fs::remove(options_.state / "coordinator.json", ignored);
      ::close(lock_);
    }
  }

  Status open() {
    std::error_code error;
    fs::create_directories(options_.state / "keys", error);
    if (error) return Error{Code::kPermission, fmt::format("{}: cannot be created: {}", options_.state.string(), error.message())};
    lock_ = ::open((options_.state / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0) return Error{Code::kPermission, fmt::format("{}: cannot be written", (options_.state / "lock").string())};
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      ::close(lock_);
      lock_ = -1;
      return Error{Code::kAddressInUse, fmt::format("{}: another coordinator uses this state folder", options_.state.string())};
    }
    const fs::path keys = options_.state / "keys";
    const Result<KeyPair> pair = fs::exists(keys / "coordinator.secret") ? read_key_pair(keys, "coordinator") : new_key_pair(keys, "coordinator");
    if (!pair) return pair.error();
    public_key_ = pair->public_z85;
    Result<std::string> token = read_or_make_token();
    if (!token) return token.error();

    Result<std::unique_ptr<Store>> store = open_sqlite_store(options_.database);
    if (!store) return store.error();
    store_ = std::move(*store);
    Result<std::unique_ptr<ArtifactDirectory>> artifacts = ArtifactDirectory::open(options_.state / "artifacts");
    if (!artifacts) return artifacts.error();
    artifacts_ = std::move(*artifacts);

    Result<std::unique_ptr<Admission>> admission = Admission::start(context_, keys / "trusted.keys");
    if (!admission) return admission.error();
    admission_ = std::move(*admission);
    Result<ServerSocket> control = ServerSocket::bind(context_, options_.listen, *pair, kMessageBytesMax);
    if (!control) return control.error();
    control_ = std::make_unique<ServerSocket>(std::move(*control));
    const std::string artifact_listen = options_.artifacts_listen.empty() ? artifacts_beside(options_.listen) : options_.artifacts_listen;
    Result<std::unique_ptr<ArtifactServer>> server = ArtifactServer::start(context_, artifact_listen, *pair, *artifacts_);
    if (!server) return server.error();
    artifact_server_ = std::move(*server);

    options_.core.artifact_endpoint = artifact_server_->endpoint();
    core_ = Coordinator(options_.core);
    core_.restore(store_->load(), wall_clock());
    wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    api_ = std::make_unique<Api>([this](const auto& body) { on_core_thread(body); }, *artifacts_, options_.database, *token);
    Result<std::unique_ptr<HttpServer>> http = HttpServer::start(options_.http, *api_);
    if (!http) return http.error();
    http_ = std::move(*http);
    http_address_ = http_->address();

    const Json facts{{"pid", ::getpid()},
                     {"version", program_version()},
                     {"control", control_->endpoint()},
                     {"artifacts", artifact_server_->endpoint()},
                     {"http", "http://" + http_address_},
                     {"public_key", public_key_},
                     {"database", fs::absolute(options_.database).string()}};
    return write_small_file(options_.state / "coordinator.json", facts.dump(2) + "\n", 0644);
  }

  const std::string& control_endpoint() const override { return control_->endpoint(); }
  const std::string& artifact_endpoint() const override { return artifact_server_->endpoint(); }
  const std::string& http_address() const override { return http_address_; }
  const std::string& public_key() const override { return public_key_; }

  void stop() noexcept override {
    stopping_ = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
  }

  Status run() override {
    Status end;
    try {
      auto next_tick = std::chrono::steady_clock::now();
      while (!stopping_) {
        zmq::pollitem_t items[] = {{control_->handle(), 0, ZMQ_POLLIN, 0}, {nullptr, wake_, ZMQ_POLLIN, 0}};
        zmq::poll(items, 2, std::chrono::milliseconds(200));
        receive_all();
        run_tasks();
        if (std::chrono::steady_clock::now() < next_tick) continue;
        next_tick = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
        perform(core_.tick(wall_clock()));
      }
    } catch (const StoreFailure& failure) {
      end = failure.error;
    } catch (const zmq::error_t& error) {
      if (!stopping_) end = Error{Code::kIo, fmt::format("the control socket failed: {}", error.what())};
    }
    stopping_ = true;
    fail_tasks();
    return end;
  }

 private:
  struct Task {
    const std::function<void(Coordinator&, Time, Decision&)>* body;
    std::promise<void> done;
  };

  Result<std::string> read_or_make_token() {
    const fs::path file = options_.state / "token";
    std::string token;
    if (std::ifstream(file) >> token && token.size() >= 32) return token;
    token = random_token();
    if (const Status written = write_small_file(file, token + "\n", 0600); !written) return written.error();
    return token;
  }

  // First write, then send.
  void perform(const Decision& decision) {
    store_->apply(decision.write);
    for (const Send& send : decision.send) {
      const auto route = routes_.find(send.to);
      if (route != routes_.end()) control_->send(route->second, encode(send.message));
    }
    for (const StoreWrite& write : decision.write) log(write);
  }

  static void log(const StoreWrite& write) {
    if (const auto* agent = std::get_if<AgentRegistered>(&write)) {
      fmt::print(stderr, "agent {} registered ({}, {} cores)\n", agent->registration.name, agent->registration.device.cpu_model,
                 agent->registration.device.cores);
    } else if (const auto* job = std::get_if<JobSubmitted>(&write)) {
      fmt::print(stderr, "run {}: {} units\n", job->job.id.value, job->units.size());
    } else if (const auto* changed = std::get_if<UnitChanged>(&write)) {
      if (const auto* failed = std::get_if<Failed>(&changed->unit.state))
        fmt::print(stderr, "{} failed: {}\n", changed->unit.id.value, failed->reason);
      else if (changed->outcome == "expired" || changed->outcome == "failed")
        fmt::print(stderr, "{} is queued again: its lease {}\n", changed->unit.id.value, changed->outcome);
    }
  }

  void receive_all() {
    for (int i = 0; i < 1000; ++i) {  // then time and HTTP get their turn
      std::optional<Incoming> incoming = control_->receive();
      if (!incoming) return;
      if (incoming->from.empty() || incoming->frames.size() != 1) continue;
      routes_[incoming->from] = incoming->route;
      const Result<AgentMessage> message = decode_agent_message(incoming->frames[0].to_string_view());
      if (!message) {
        fmt::print(stderr, "a message of agent {} was refused: {}\n", incoming->from.value, message.error().detail);
        perform(core_.on_undecodable(incoming->from, message.error(), wall_clock()));
        continue;
      }
      bool present = false;
      if (const auto* finished = std::get_if<UnitFinished>(&*message))
        present = finished->artifact && artifacts_->contains(finished->artifact->sha256);
      perform(core_.on(incoming->from, *message, present, wall_clock()));
    }
  }

  void on_core_thread(const std::function<void(Coordinator&, Time, Decision&)>& body) {
    auto task = std::make_shared<Task>();
    task->body = &body;
    std::future<void> done = task->done.get_future();
    {
      const std::scoped_lock lock(mutex_);
      if (closed_) throw std::runtime_error("the coordinator is stopping");
      tasks_.push(task);
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
    done.get();
  }

  void run_tasks() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(wake_, &count, sizeof count);
    for (;;) {
      std::shared_ptr<Task> task;
      {
        const std::scoped_lock lock(mutex_);
        if (tasks_.empty()) return;
        task = tasks_.front();
        tasks_.pop();
      }
      try {
        Decision decision;
        (*task->body)(core_, wall_clock(), decision);
        perform(decision);
        task->done.set_value();
      } catch (...) {
        task->done.set_exception(std::current_exception());
        throw;
      }
    }
  }

  void fail_tasks() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    for (; !tasks_.empty(); tasks_.pop())
      tasks_.front()->done.set_exception(std::make_exception_ptr(std::runtime_error("the coordinator is stopping")));
  }

  ServiceOptions options_;
  Coordinator core_;
  zmq::context_t context_{1};
  std::unique_ptr<Store> store_;
  std::unique_ptr<ArtifactDirectory> artifacts_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<ServerSocket> control_;
  std::unique_ptr<ArtifactServer> artifact_server_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
  std::map<AgentId, std::string> routes_;  // where an agent was last heard from
  std::string public_key_, http_address_;
  int lock_ = -1;
  int wake_ = -1;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  bool closed_ = false;
  std::queue<std::shared_ptr<Task>> tasks_;
};

}  // namespace

Result<std::unique_ptr<Service>> Service::start(ServiceOptions options) {
  auto service = std::make_unique<ServiceProcess>(std::move(options));
  if (const Status opened = service->open(); !opened) return opened.error();
  return std::unique_ptr<Service>(std::move(service));
}

}  // namespace quantfleet::coordinator
