// What every socket of an agent is set to before it connects: CURVE encryption, heartbeats of the link itself, no lingering.
#pragma once

#include "agent/transport/keys.h"

#include <zmq.hpp>

namespace quantfleet::agent {

void apply_curve(zmq::socket_t& socket, const KeyPair& keys, const std::string& coordinator_key);

// "tcp://*:7702" or "tcp://:7702" or "tcp://0.0.0.0:7702" from the coordinator: its host is the one of the control socket.
std::string resolve_endpoint(const std::string& announced, const std::string& control_endpoint);

}  // namespace quantfleet::agent
