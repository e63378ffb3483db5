// A ROUTER socket that only admitted keys reach: CURVE server, link heartbeats, a limit on message size.
#pragma once

#include "contract/error.h"
#include "contract/ids.h"
#include "coordinator/transport/keys.h"

#include <optional>
#include <string>
#include <vector>

#include <zmq.hpp>

namespace quantfleet::coordinator {

struct Incoming {
  AgentId from;          // the key that ZAP admitted, never what a message claims
  std::string route;     // where an answer goes
  std::vector<zmq::message_t> frames;
};

class ServerSocket {
 public:
  // kAddressInUse, kPermission, kUsage (not an endpoint). Port 0 and "*" let the system choose.
  static Result<ServerSocket> bind(zmq::context_t& context, std::string endpoint, const KeyPair& keys, std::size_t message_bytes_max);

  std::optional<Incoming> receive();                                              // without waiting
  bool send(const std::string& route, std::string_view first, const std::string* second = nullptr);  // false: dropped
  const std::string& endpoint() const { return endpoint_; }                       // as bound, with its port
  void* handle() { return socket_.handle(); }

 private:
  ServerSocket(zmq::socket_t socket) : socket_(std::move(socket)) {}
  zmq::socket_t socket_;
  std::string endpoint_;
};

}  // namespace quantfleet::coordinator
