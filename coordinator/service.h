// A coordinator as a process: the core and its store on one thread with the control socket; the artifact socket, admission
// and HTTP each on their own. Leaves coordinator.json in the state folder: endpoints as bound, pid, public key.
//
// State folder: keys/coordinator.{secret,public}, keys/trusted.keys, token (0600), artifacts/, coordinator.json, lock.
#pragma once

#include "coordinator/coordinator.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace quantfleet::coordinator {

struct ServiceOptions {
  std::filesystem::path database = "results.db";
  std::filesystem::path state = "quantfleet-coordinator";
  std::string listen = "tcp://127.0.0.1:7410";
  std::string artifacts_listen;                 // empty: the address of `listen`, its port + 2 (or any, where that is 0)
  std::string http = "127.0.0.1:7411";
  Options core;
};

class Service {
 public:
  virtual ~Service() = default;
  // Errors in one sentence: a taken port, a damaged database, another coordinator in this state folder, a full disk.
  static Result<std::unique_ptr<Service>> start(ServiceOptions options);

  virtual const std::string& control_endpoint() const = 0;
  virtual const std::string& artifact_endpoint() const = 0;
  virtual const std::string& http_address() const = 0;
  virtual const std::string& public_key() const = 0;

  virtual Status run() = 0;            // until stop(); an error when the store broke: nothing acknowledged is lost
  virtual void stop() noexcept = 0;    // from any thread or signal handler
};

}  // namespace quantfleet::coordinator
