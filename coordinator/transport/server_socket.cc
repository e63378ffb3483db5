#include "coordinator/transport/server_socket.h"

#include <fmt/format.h>
#include <zmq_addon.hpp>

#include <iterator>

namespace quantfleet::coordinator {

Result<ServerSocket> ServerSocket::bind(zmq::context_t& context, std::string endpoint, const KeyPair& keys, std::size_t message_bytes_max) {
  if (endpoint.ends_with(":0")) endpoint.replace(endpoint.size() - 1, 1, "*");
  zmq::socket_t socket(context, zmq::socket_type::router);
  socket.set(zmq::sockopt::curve_server, true);
  socket.set(zmq::sockopt::curve_secretkey, keys.secret_z85);
  socket.set(zmq::sockopt::zap_domain, "quantfleet");
  socket.set(zmq::sockopt::linger, 200);
  socket.set(zmq::sockopt::router_mandatory, true);   // a peer that is gone is an error to ignore, not a silent drop
  socket.set(zmq::sockopt::heartbeat_ivl, 2000);
  socket.set(zmq::sockopt::heartbeat_timeout, 10'000);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(message_bytes_max));
  socket.set(zmq::sockopt::backlog, 1024);
  socket.set(zmq::sockopt::ipv6, endpoint.find('[') != std::string::npos);
  try {
    socket.bind(endpoint);
  } catch (const zmq::error_t& error) {
    switch (error.num()) {
      case EADDRINUSE:
        return Error{Code::kAddressInUse, fmt::format("{}: the port is taken; is another coordinator running? (--listen chooses another)", endpoint)};
      case EACCES:
      case EPERM: return Error{Code::kPermission, fmt::format("{}: this port needs privileges", endpoint)};
      case EADDRNOTAVAIL:
      case ENODEV: return Error{Code::kUsage, fmt::format("{}: this machine has no such address", endpoint)};
      default: return Error{Code::kUsage, fmt::format("{}: expected tcp://ADDRESS:PORT ({})", endpoint, error.what())};
    }
  }
  ServerSocket server(std::move(socket));
  server.endpoint_ = server.socket_.get(zmq::sockopt::last_endpoint);
  return server;
}

std::optional<Incoming> ServerSocket::receive() {
  std::vector<zmq::message_t> frames;
  if (!zmq::recv_multipart(socket_, std::back_inserter(frames), zmq::recv_flags::dontwait)) return std::nullopt;
  Incoming incoming;
  if (frames.size() < 2) return incoming;
  try {
    incoming.from.value = frames.back().gets("User-Id");
  } catch (const zmq::error_t&) {  // cannot happen behind ZAP; nobody without a name is served
    return incoming;
  }
  incoming.route = frames.front().to_string();
  incoming.frames.assign(std::make_move_iterator(frames.begin() + 1), std::make_move_iterator(frames.end()));
  return incoming;
}

bool ServerSocket::send(const std::string& route, std::string_view first, const std::string* second) {
  try {
    if (!socket_.send(zmq::buffer(route), zmq::send_flags::sndmore | zmq::send_flags::dontwait)) return false;
    socket_.send(zmq::buffer(first), second ? zmq::send_flags::sndmore | zmq::send_flags::dontwait : zmq::send_flags::dontwait);
    if (second) socket_.send(zmq::buffer(*second), zmq::send_flags::dontwait);
    return true;
  } catch (const zmq::error_t&) {  // EHOSTUNREACH: it left
    return false;
  }
}

}  // namespace quantfleet::coordinator
