#include "agent/transport/curve.h"

namespace quantfleet::agent {

void apply_curve(zmq::socket_t& socket, const KeyPair& keys, const std::string& coordinator_key) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::reconnect_ivl, 200);
  socket.set(zmq::sockopt::reconnect_ivl_max, 5000);
  socket.set(zmq::sockopt::handshake_ivl, 10'000);
  socket.set(zmq::sockopt::heartbeat_ivl, 2000);      // finds dead links that TCP does not report
  socket.set(zmq::sockopt::heartbeat_timeout, 10'000);
  socket.set(zmq::sockopt::curve_serverkey, coordinator_key);
  socket.set(zmq::sockopt::curve_publickey, keys.public_z85);
  socket.set(zmq::sockopt::curve_secretkey, keys.secret_z85);
}

std::string resolve_endpoint(const std::string& announced, const std::string& control_endpoint) {
  constexpr std::string_view kTcp = "tcp://";
  const std::size_t port = announced.rfind(':');
  if (!announced.starts_with(kTcp) || port == std::string::npos || port < kTcp.size()) return announced;
  const std::string host = announced.substr(kTcp.size(), port - kTcp.size());
  if (!host.empty() && host != "*" && host != "0.0.0.0" && host != "[::]") return announced;
  const std::size_t control_port = control_endpoint.rfind(':');
  if (!control_endpoint.starts_with(kTcp) || control_port == std::string::npos || control_port < kTcp.size()) return announced;
  return control_endpoint.substr(0, control_port) + announced.substr(port);
}

}  // namespace quantfleet::agent
