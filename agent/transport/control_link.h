// The control socket: a DEALER with CURVE, and libzmq's monitor of it, which tells a refused key from a silent coordinator.
// Used by one thread, which polls its two descriptors' sockets.
#pragma once

#include "agent/transport/keys.h"
#include "contract/error.h"

#include <optional>
#include <string>
#include <vector>

#include <zmq.hpp>

namespace quantfleet::agent {

class ControlLink {
 public:
  // Throws zmq::error_t where the endpoint cannot be parsed.
  ControlLink(zmq::context_t& context, const std::string& endpoint, const KeyPair& keys, const std::string& coordinator_key);

  void send(std::string_view message);            // dropped when 1000 messages wait already: everything is sent again anyway
  std::optional<std::string> receive();           // the next message, without waiting

  void flush();                                   // what was sent last may take a second to leave before the socket closes

  // What happened to the link since the last call; at most one sentence worth logging.
  struct Events {
    bool connected = false;                       // encrypted and admitted
    bool disconnected = false;
    std::optional<Error> refused;                 // kNotAdmitted: the coordinator does not know our key
  };
  Events events();

  void* socket() { return socket_.handle(); }
  void* monitor() { return monitor_.handle(); }

 private:
  zmq::socket_t socket_;
  zmq::socket_t monitor_;
};

}  // namespace quantfleet::agent
