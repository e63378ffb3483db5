#include "backends/engines/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace quantfleet {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr std::size_t kUrlBytesMax = 2048;

// resolve -> connect -> write -> read, each when the one before is done; the stream's timer covers all of it.
class Exchange {
 public:
  Exchange(const HttpUrl& url, const HttpRequest& request) : url_(url), limit_(request), resolver_(context_), stream_(context_) {
    request_.method(request.body.empty() ? http::verb::get : http::verb::post);
    request_.target(url.base + request.path);
    request_.version(11);
    request_.set(http::field::host, url.host + ":" + url.port);
    request_.set(http::field::user_agent, "quantfleet");
    request_.set(http::field::connection, "close");
    if (!request.bearer.empty()) request_.set(http::field::authorization, "Bearer " + request.bearer);
    if (!request.body.empty()) request_.set(http::field::content_type, "application/json");
    request_.body() = request.body;
    request_.prepare_payload();
    parser_.body_limit(request.answer_bytes_max);
  }

  Result<HttpAnswer> run() {
    resolver_.async_resolve(url_.host, url_.port, [this](error_code error, asio::ip::tcp::resolver::results_type places) {
      if (error) return fail(Code::kUnreachable, fmt::format("no address for {}: {}", url_.host, error.message()));
      stream_.expires_after(limit_.timeout);
      stream_.async_connect(places, [this](error_code failed, const asio::ip::tcp::endpoint&) {
        if (failed) return fail_network(failed, Code::kUnreachable, "cannot be connected to");
        http::async_write(stream_, request_, [this](error_code broken, std::size_t) {
          if (broken) return fail_network(broken, Code::kUnreachable, "closed the connection");
          http::async_read(stream_, buffer_, parser_, [this](error_code bad, std::size_t) { finish(bad); });
        });
      });
    });
    if (context_.run_for(limit_.timeout + std::chrono::seconds(5)); !done_) fail(Code::kTimeout, fmt::format("no answer within {} s", seconds()));
    if (error_) return *error_;
    return std::move(answer_);
  }

 private:
  double seconds() const { return static_cast<double>(limit_.timeout.count()) / 1000; }

  void finish(error_code error) {
    if (error == http::error::body_limit) return fail(Code::kTooLarge, fmt::format("an answer of more than {} bytes", limit_.answer_bytes_max));
    if (error == http::error::end_of_stream) return fail(Code::kUnreachable, "closed the connection without an answer");
    if (error == http::error::partial_message || error == asio::error::eof || error == asio::error::connection_reset)
      return fail(Code::kTruncated, fmt::format("closed the connection inside its answer, {} bytes of the body had come", parser_.get().body().size()));
    if (error) return fail_network(error, Code::kBadValue, "gave no answer in HTTP");
    answer_ = {static_cast<int>(parser_.get().result_int()), std::move(parser_.get().body())};
    done_ = true;
    error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  }

  void fail_network(error_code error, Code code, std::string_view what) {
    if (error == beast::error::timeout) return fail(Code::kTimeout, fmt::format("no answer within {} s", seconds()));
    fail(code, fmt::format("{}: {}", what, error.message()));
  }

  void fail(Code code, std::string sentence) {
    error_ = Error{code, fmt::format("{}{}: {}", url_.text, limit_.path, sentence)};
    done_ = true;
  }

  const HttpUrl& url_;
  const HttpRequest& limit_;
  asio::io_context context_;
  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream stream_;
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  HttpAnswer answer_;
  std::optional<Error> error_;
  bool done_ = false;
};

}  // namespace

Result<HttpUrl> read_http_url(std::string_view url) {
  const auto bad = [&](std::string_view why) { return Error{Code::kUsage, fmt::format("{:.200}: {}", url, why)}; };
  if (url.starts_with("https://")) return bad("this program speaks plain http; let a proxy on this machine (stunnel, ssh -L, nginx) speak https to the server");
  if (!url.starts_with("http://") || url.size() > kUrlBytesMax) return bad("http://HOST[:PORT] is expected");
  HttpUrl read;
  read.text = std::string(url);
  while (read.text.ends_with('/')) read.text.pop_back();
  std::string_view rest = std::string_view(read.text).substr(std::min<std::size_t>(read.text.size(), 7));
  const std::size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) read.base = std::string(rest.substr(slash));
  for (const std::string_view part : {authority, std::string_view(read.base)})
    for (const char c : part)
      if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '?' || c == '#' || c == '@') return bad("a URL without spaces, user names, queries and fragments is expected");
  std::size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return bad("'[' without ']'");
    read.host = std::string(authority.substr(1, close - 1));
    colon = close + 1 < authority.size() ? close + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && authority[colon] != ':') return bad("a port is expected behind ']'");
  } else {
    read.host = std::string(authority.substr(0, colon));
  }
  read.port = colon == std::string_view::npos ? "80" : std::string(authority.substr(colon + 1));
  const bool digits = !read.port.empty() && read.port.size() <= 5 && std::all_of(read.port.begin(), read.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (read.host.empty() || !digits || std::stoi(read.port) < 1 || std::stoi(read.port) > 65535) return bad("http://HOST[:PORT] with a port of 1 to 65535 is expected");
  return read;
}

Result<HttpAnswer> http_exchange(const HttpUrl& url, const HttpRequest& request) { return Exchange(url, request).run(); }

}  // namespace quantfleet
