#include "agent/transport/control_link.h"

#include "agent/transport/curve.h"
#include "contract/messages.h"

#include <fmt/format.h>
#include <zmq.h>

#include <atomic>
#include <cstring>

namespace quantfleet::agent {
namespace {

std::string monitor_name() {
  static std::atomic<int> count = 0;
  return fmt::format("inproc://quantfleet.control.{}", count++);
}

}  // namespace

ControlLink::ControlLink(zmq::context_t& context, const std::string& endpoint, const KeyPair& keys, const std::string& coordinator_key)
    : socket_(context, zmq::socket_type::dealer), monitor_(context, zmq::socket_type::pair) {
  apply_curve(socket_, keys, coordinator_key);
  socket_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMessageBytesMax));
  const std::string name = monitor_name();
  if (::zmq_socket_monitor(socket_.handle(), name.c_str(),
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED) != 0)
    throw zmq::error_t();
  monitor_.connect(name);
  socket_.connect(endpoint);
}

void ControlLink::send(std::string_view message) { (void)socket_.send(zmq::buffer(message), zmq::send_flags::dontwait); }

std::optional<std::string> ControlLink::receive() {
  zmq::message_t message;
  if (!socket_.recv(message, zmq::recv_flags::dontwait)) return std::nullopt;
  std::string text = message.to_string();
  while (message.more()) {  // not ours: a message has one frame
    if (!socket_.recv(message, zmq::recv_flags::dontwait)) break;
  }
  return text;
}

void ControlLink::flush() { socket_.set(zmq::sockopt::linger, 1000); }

ControlLink::Events ControlLink::events() {
  Events all;
  zmq::message_t event, address;
  while (monitor_.recv(event, zmq::recv_flags::dontwait)) {
    if (event.more()) (void)monitor_.recv(address, zmq::recv_flags::none);
    if (event.size() < 6) continue;
    std::uint16_t kind = 0;
    std::uint32_t value = 0;
    std::memcpy(&kind, event.data(), sizeof kind);
    std::memcpy(&value, static_cast<const char*>(event.data()) + sizeof kind, sizeof value);
    if (kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) all.connected = true;
    if (kind == ZMQ_EVENT_DISCONNECTED) all.disconnected = true;
    if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == 400)  // RFC 27: the server's answer to an unknown key
      all.refused = Error{Code::kNotAdmitted, "the coordinator does not admit this agent's key"};
  }
  return all;
}

}  // namespace quantfleet::agent
