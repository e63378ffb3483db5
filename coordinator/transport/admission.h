// Who may connect: answers libzmq's ZAP questions from the list of trusted keys, on its own thread. The list is read again
// when the file changes. An admitted peer's User-Id is its public key, which every message then carries.
#pragma once

#include "contract/error.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <thread>

#include <zmq.hpp>

namespace quantfleet::coordinator {

class Admission {
 public:
  // Must be made before the first CURVE socket of the context is bound. A broken list is an error here, and later a warning
  // on stderr while the last good list stays in force.
  static Result<std::unique_ptr<Admission>> start(zmq::context_t& context, std::filesystem::path trusted_keys);
  ~Admission();

  std::uint64_t refused() const { return refused_; }

 private:
  Admission(zmq::context_t& context, std::filesystem::path trusted_keys);
  void serve();

  std::filesystem::path file_;
  zmq::socket_t socket_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> refused_{0};
  std::thread thread_;
};

}  // namespace quantfleet::coordinator
