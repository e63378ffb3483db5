#include "coordinator/http/http_server.h"

#include "contract/messages.h"
#include "coordinator/http/api.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fmt/format.h>

#include <atomic>
#include <thread>

namespace quantfleet::coordinator {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using asio::use_awaitable;

constexpr std::uint64_t kBodyBytesMax = 2u << 20;       // plans
constexpr std::uint64_t kUploadBytesMax = 1ull << 42;
constexpr int kConnectionsMax = 256;
constexpr std::chrono::seconds kPatience{30};           // for the next bytes of either side

class BeastServer : public HttpServer {
 public:
  BeastServer(Api& api, tcp::endpoint endpoint) : api_(api), acceptor_(io_, endpoint) {
    const tcp::endpoint bound = acceptor_.local_endpoint();
    address_ = bound.address().is_v6() ? fmt::format("[{}]:{}", bound.address().to_string(), bound.port())
                                       : fmt::format("{}:{}", bound.address().to_string(), bound.port());
    asio::co_spawn(io_, listen(), asio::detached);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~BeastServer() override {
    io_.stop();
    thread_.join();
  }
  const std::string& address() const override { return address_; }

 private:
  asio::awaitable<void> listen() {
    for (;;) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(use_awaitable, error));
      if (error) {  // out of descriptors: wait for some to come back
        asio::steady_timer timer(io_, std::chrono::milliseconds(100));
        co_await timer.async_wait(asio::redirect_error(use_awaitable, error));
        continue;
      }
      if (connections_ >= kConnectionsMax) continue;  // closes it
      ++connections_;
      asio::co_spawn(io_, serve(std::move(socket)), [this](std::exception_ptr) { --connections_; });
    }
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    beast::tcp_stream stream(std::move(socket));
    beast::flat_buffer buffer(1u << 16);
    for (bool alive = true; alive;) {
      http::request_parser<http::buffer_body> parser;
      parser.header_limit(16u << 10);
      parser.body_limit(kUploadBytesMax);
      stream.expires_after(kPatience);
      co_await http::async_read_header(stream, buffer, parser, use_awaitable);
      HttpRequest request = request_of(parser.get());
      const bool head = parser.get().method() == http::verb::head;
      alive = parser.keep_alive();
      if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
        http::response<http::empty_body> go_on(http::status::continue_, parser.get().version());
        co_await http::async_write(stream, go_on, use_awaitable);
      }
      HttpResponse response;
      if (request.method == "PUT") {
        response = co_await receive_upload(stream, buffer, parser, request);
        alive = alive && parser.is_done();
      } else {
        response = co_await receive_body(stream, buffer, parser, request);
        alive = alive && parser.is_done();
        if (response.status == 0) response = answer(request);
      }
      co_await write(stream, std::move(response), head, alive);
    }
    beast::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  static HttpRequest request_of(const auto& message) {
    HttpRequest request;
    request.method = std::string(message.method_string());
    const std::string_view target(message.target().data(), message.target().size());
    request.path = std::string(target.substr(0, target.find('?')));
    request.content_type = std::string(message[http::field::content_type]);
    request.authorization = std::string(message[http::field::authorization]);
    return request;
  }

  HttpResponse answer(const HttpRequest& request) {
    try {
      return api_.handle(request);
    } catch (const std::exception& error) {
      return error_response(Error{Code::kIo, error.what()});
    }
  }

  // Status 0: the body is whole and in `request`.
  asio::awaitable<HttpResponse> receive_body(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                             http::request_parser<http::buffer_body>& parser, HttpRequest& request) {
    std::string chunk(64u << 10, '\0');
    while (!parser.is_done()) {
      const std::size_t got = co_await read_some(stream, buffer, parser, chunk);
      request.body.append(chunk, 0, got);
      if (request.body.size() > kBodyBytesMax)
        co_return error_response(Error{Code::kTooLarge, fmt::format("the body is larger than {} bytes", kBodyBytesMax)});
    }
    HttpResponse none;
    none.status = 0;
    co_return none;
  }

  asio::awaitable<HttpResponse> receive_upload(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                               http::request_parser<http::buffer_body>& parser, const HttpRequest& request) {
    std::string sha256;
    HttpResponse response = api_.may_upload(request, sha256);
    if (response.status != 200) co_return response;
    if (!parser.content_length())
      co_return error_response(Error{Code::kBadValue, "an upload needs a Content-Length"});
    const std::uint64_t size = *parser.content_length();
    const std::string writer = fmt::format("http:{}", uploads_++);
    std::string chunk(kChunkBytes, '\0');
    std::uint64_t offset = 0;
    try {
      do {
        std::size_t filled = 0;
        if (!parser.is_done()) filled = co_await read_some(stream, buffer, parser, chunk);
        response = api_.upload(writer, sha256, offset, size, std::string_view(chunk).substr(0, filled));
        offset += filled;
      } while (!parser.is_done() && response.status < 300);
    } catch (...) {
      api_.abandon_upload(writer, sha256);
      throw;
    }
    api_.abandon_upload(writer, sha256);
    co_return response;
  }

  static asio::awaitable<std::size_t> read_some(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                                http::request_parser<http::buffer_body>& parser, std::string& chunk) {
    parser.get().body().data = chunk.data();
    parser.get().body().size = chunk.size();
    stream.expires_after(kPatience);
    beast::error_code error;
    co_await http::async_read(stream, buffer, parser, asio::redirect_error(use_awaitable, error));
    if (error && error != http::error::need_buffer) throw beast::system_error(error);
    co_return chunk.size() - parser.get().body().size;
  }

  asio::awaitable<void> write(beast::tcp_stream& stream, HttpResponse response, bool head, bool alive) {
    const auto status = static_cast<http::status>(response.status);
    const auto dress = [&](auto& message) {
      message.set(http::field::content_type, response.content_type);
      message.set(http::field::cache_control, "no-store");
      message.set("X-Content-Type-Options", "nosniff");
      message.set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'");
      message.keep_alive(alive);
    };
    stream.expires_after(kPatience);
    if (!response.file.empty() && !head) {
      http::response<http::file_body> message(status, 11);
      beast::error_code error;
      message.body().open(response.file.c_str(), beast::file_mode::scan, error);
      if (error) throw beast::system_error(error);
      dress(message);
      message.prepare_payload();
      stream.expires_never();  // a model of many gigabytes
      co_await http::async_write(stream, message, use_awaitable);
    } else if (head) {
      http::response<http::empty_body> message(status, 11);
      dress(message);
      std::error_code ignored;
      message.content_length(response.file.empty() ? response.body.size() : std::filesystem::file_size(response.file, ignored));
      http::response_serializer<http::empty_body> serializer(message);
      co_await http::async_write_header(stream, serializer, use_awaitable);
    } else {
      http::response<http::string_body> message(status, 11);
      dress(message);
      message.body() = std::move(response.body);
      message.prepare_payload();
      co_await http::async_write(stream, message, use_awaitable);
    }
  }

  Api& api_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  std::string address_;
  int connections_ = 0;
  std::uint64_t uploads_ = 0;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& address, Api& api) {
  const std::size_t colon = address.rfind(':');
  const Error malformed{Code::kUsage, fmt::format("--http {}: expected ADDRESS:PORT, such as 127.0.0.1:7411", address)};
  if (colon == std::string::npos || colon + 1 == address.size() || address.size() - colon > 6 ||
      address.find_first_not_of("0123456789", colon + 1) != std::string::npos)
    return malformed;
  const int port = std::stoi(address.substr(colon + 1));
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  beast::error_code error;
  const auto ip = asio::ip::make_address(host, error);
  if (error || port > 65535) return malformed;
  try {
    return std::unique_ptr<HttpServer>(new BeastServer(api, {ip, static_cast<unsigned short>(port)}));
  } catch (const boost::system::system_error& failure) {
    if (failure.code() == asio::error::address_in_use)
      return Error{Code::kAddressInUse, fmt::format("{}: the port is taken; is another coordinator running? (--http chooses another)", address)};
    if (failure.code() == asio::error::access_denied) return Error{Code::kPermission, fmt::format("{}: this port needs privileges", address)};
    return Error{Code::kUsage, fmt::format("{}: {}", address, failure.code().message())};
  }
}

}  // namespace quantfleet::coordinator
