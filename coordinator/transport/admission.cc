#include "coordinator/transport/admission.h"

#include "coordinator/transport/keys.h"

#include <fmt/format.h>
#include <zmq_addon.hpp>

#include <cstdio>
#include <iterator>
#include <memory>
#include <vector>

namespace quantfleet::coordinator {

Result<std::unique_ptr<Admission>> Admission::start(zmq::context_t& context, std::filesystem::path trusted_keys) {
  if (const auto keys = read_trusted_keys(trusted_keys); !keys) return keys.error();
  return std::unique_ptr<Admission>(new Admission(context, std::move(trusted_keys)));
}

Admission::Admission(zmq::context_t& context, std::filesystem::path trusted_keys)
    : file_(std::move(trusted_keys)), socket_(context, zmq::socket_type::rep) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.set(zmq::sockopt::rcvtimeo, 200);
  socket_.bind("inproc://zeromq.zap.01");
  thread_ = std::thread([this] { serve(); });
}

Admission::~Admission() {
  stop_ = true;
  thread_.join();
}

// RFC 27: version, request id, domain, address, identity, mechanism, credentials (the raw 32-byte key for CURVE).
void Admission::serve() {
  TrustedKeys keys;
  std::filesystem::file_time_type read_at{};
  bool read_once = false;
  std::error_code error;
  while (!stop_) {
    std::vector<zmq::message_t> frames;
    if (!zmq::recv_multipart(socket_, std::back_inserter(frames))) continue;
    const auto changed = std::filesystem::last_write_time(file_, error);
    if (!read_once || (!error && changed != read_at)) {
      if (auto fresh = read_trusted_keys(file_)) {
        keys = std::move(*fresh);
        read_at = changed;
        read_once = true;
      } else {
        fmt::print(stderr, "quantfleet coordinator: {}; the earlier list stays in force\n", fresh.error().detail);
      }
    }
    std::string key(41, '\0');
    bool admitted = false;
    if (frames.size() == 7 && frames[5].to_string_view() == "CURVE" && frames[6].size() == 32) {
      zmq_z85_encode(key.data(), static_cast<const std::uint8_t*>(frames[6].data()), 32);
      key.resize(40);
      admitted = keys.contains(key);
    }
    if (!admitted) {
      ++refused_;
      fmt::print(stderr, "quantfleet coordinator: refused a connection from {}: its key {} is not trusted\n",
                 frames.size() > 3 ? frames[3].to_string() : "?", key.c_str());
    }
    zmq::multipart_t reply;
    reply.addstr("1.0");
    if (frames.size() > 1) reply.addmem(frames[1].data(), frames[1].size());
    else reply.addstr("");
    reply.addstr(admitted ? "200" : "400");
    reply.addstr(admitted ? "OK" : "the key is not trusted");
    reply.addstr(admitted ? key : "");
    reply.addstr("");
    reply.send(socket_);
  }
}

}  // namespace quantfleet::coordinator
