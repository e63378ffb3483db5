// An HTTP server for tests, on a free port of this machine: answers what a function says, or misbehaves as it says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace quantfleet::test {

struct FakeReply {
  enum class Fault { kNone, kTruncated, kSilent, kNoHttp, kClosed };
  std::string body;
  int status = 200;
  Fault fault = Fault::kNone;
};

class FakeHttpServer {
 public:
  // handle(path, body of the request): called by several threads at once.
  using Handler = std::function<FakeReply(const std::string& path, const std::string& body)>;
  explicit FakeHttpServer(Handler handler) : handler_(std::move(handler)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no socket for a test's server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeHttpServer() {
    stopped_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (std::thread& one : connections_) one.join();
    ::close(listener_);
  }
  FakeHttpServer(const FakeHttpServer&) = delete;
  FakeHttpServer& operator=(const FakeHttpServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    while (!stopped_) {
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      connections_.emplace_back([this, connection] {
        talk(connection);
        ::close(connection);
      });
    }
  }

  void talk(int connection) {
    std::string request;
    std::size_t head = std::string::npos, wanted = 0;
    while (head == std::string::npos || request.size() < wanted) {
      char bytes[4096];
      const ssize_t count = ::recv(connection, bytes, sizeof bytes, 0);
      if (count <= 0) return;
      request.append(bytes, static_cast<std::size_t>(count));
      if (head != std::string::npos || (head = request.find("\r\n\r\n")) == std::string::npos) continue;
      std::string lower = request.substr(0, head);
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const std::size_t length = lower.find("content-length:");
      wanted = head + 4 + (length == std::string::npos ? 0 : std::stoul(lower.substr(length + 15)));
    }
    const std::size_t path = request.find(' ') + 1;
    const FakeReply reply = handler_(request.substr(path, request.find(' ', path) - path), request.substr(head + 4));
    std::string answer = "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body;
    switch (reply.fault) {
      case FakeReply::Fault::kNone: break;
      case FakeReply::Fault::kTruncated: answer.resize(answer.size() - reply.body.size() / 2 - 1); break;
      case FakeReply::Fault::kNoHttp: answer = "220 mail.example.org ESMTP\r\n"; break;
      case FakeReply::Fault::kClosed: return;
      case FakeReply::Fault::kSilent: {
        char byte;
        while (!stopped_ && ::recv(connection, &byte, 1, 0) > 0) {}  // until the other side gives up
        return;
      }
    }
    for (std::size_t sent = 0; sent < answer.size();) {
      const ssize_t count = ::send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<std::size_t>(count);
    }
    ::shutdown(connection, SHUT_WR);
  }

  Handler handler_;
  int listener_;
  int port_ = 0;
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
  std::vector<std::thread> connections_;  // of serve()'s thread until it has ended
};

}  // namespace quantfleet::test
