#include "cli/coordinator_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstdlib>
#include <fstream>

namespace quantfleet::cli {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::size_t kAnswerBytesMax = std::size_t{1} << 30;

// A caller may be silent for so long; model files of many gigabytes are hashed on the other side before the last answer.
void set_patience(tcp::socket& socket, int seconds) {
  const timeval patience{seconds, 0};
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

}  // namespace

void add_coordinator_options(CLI::App& app, CoordinatorAddress& address) {
  app.add_option("--coordinator", address.url, "HTTP address of the coordinator [from the state folder, else http://127.0.0.1:7411]")
      ->envname("QUANTFLEET_HTTP");
  app.add_option("--state", address.state, "the coordinator's state folder, for its address and token (QUANTFLEET_TOKEN otherwise)")
      ->envname("QUANTFLEET_STATE")
      ->capture_default_str();
}

Result<CoordinatorClient> CoordinatorClient::at(const CoordinatorAddress& address) {
  CoordinatorClient client;
  client.url_ = address.url;
  if (client.url_.empty()) {
    std::ifstream file(address.state / "coordinator.json");
    if (file) {
      const nlohmann::json facts = nlohmann::json::parse(file, nullptr, false);
      if (facts.is_object() && facts.contains("http") && facts["http"].is_string()) client.url_ = facts["http"].get<std::string>();
    }
  }
  if (client.url_.empty()) client.url_ = "http://127.0.0.1:7411";
  std::string rest = client.url_;
  if (rest.starts_with("http://")) rest = rest.substr(7);
  else if (rest.find("://") != std::string::npos)
    return Error{Code::kUsage, fmt::format("--coordinator {}: expected http://HOST:PORT", client.url_)};
  while (!rest.empty() && rest.back() == '/') rest.pop_back();
  const std::size_t colon = rest.rfind(':');
  client.host_ = rest.substr(0, colon);
  client.port_ = colon == std::string::npos ? "7411" : rest.substr(colon + 1);
  if (client.host_.size() > 1 && client.host_.front() == '[') client.host_ = client.host_.substr(1, client.host_.size() - 2);
  if (client.host_.empty() || client.port_.empty() || rest.find_first_of(" \r\n/") != std::string::npos)
    return Error{Code::kUsage, fmt::format("--coordinator {}: expected http://HOST:PORT", client.url_)};
  if (const char* token = std::getenv("QUANTFLEET_TOKEN")) client.token_ = token;
  if (client.token_.empty()) std::ifstream(address.state / "token") >> client.token_;
  return client;
}

std::string CoordinatorClient::head_of(const std::string& method, const std::string& path, std::uint64_t length,
                                       const std::string& type) const {
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n", method, path, host_, port_);
  if (method != "GET" && method != "HEAD") {
    head += fmt::format("Content-Length: {}\r\nContent-Type: {}\r\n", length, type);
    if (!token_.empty()) head += "Authorization: Bearer " + token_ + "\r\n";
  }
  return head + "\r\n";
}

Status CoordinatorClient::exchange(const std::string& head, const std::string& body, const std::filesystem::path& path,
                                   const std::function<void(std::uint64_t, std::uint64_t)>& progress, Answer& answer) const {
  boost::system::error_code error;
  asio::io_context io;
  tcp::socket socket(io);
  const auto places = tcp::resolver(io).resolve(host_, port_, error);
  if (!error) asio::connect(socket, places, error);
  if (error)
    return Error{Code::kUnreachable, fmt::format("no coordinator answers at {}: {}", url_, error.message())};
  set_patience(socket, 120);
  asio::write(socket, asio::buffer(head), error);
  if (!error && !body.empty()) asio::write(socket, asio::buffer(body), error);
  if (!error && !path.empty()) {
    std::ifstream file(path, std::ios::binary);
    std::error_code ignored;
    const std::uint64_t total = std::filesystem::file_size(path, ignored);
    std::string chunk(1u << 20, '\0');
    for (std::uint64_t done = 0; done < total && !error;) {
      file.read(chunk.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(chunk.size(), total - done)));
      if (file.gcount() <= 0) return Error{Code::kIo, fmt::format("{}: cannot be read to its end", path.string())};
      asio::write(socket, asio::buffer(chunk.data(), static_cast<std::size_t>(file.gcount())), error);
      done += static_cast<std::uint64_t>(file.gcount());
      if (progress) progress(done, total);
    }
  }
  // After a failed write the answer that explains it may still be there.
  std::string text;
  error = {};
  asio::read(socket, asio::dynamic_buffer(text, kAnswerBytesMax), error);
  const std::size_t end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || text.size() < 12 || end == std::string::npos)
    return Error{Code::kUnreachable, fmt::format("{} does not answer as a coordinator does", url_)};
  answer.status = std::atoi(text.c_str() + 9);
  answer.body = text.substr(end + 4);
  return {};
}

Status CoordinatorClient::parsed(const Answer& answer, nlohmann::json& json) const {
  json = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status >= 200 && answer.status < 300 && !json.is_discarded()) return {};
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    Code code = Code::kIo;
    code_from_name(json["error"].value("code", std::string()), code);
    return Error{code, json["error"].value("detail", std::string("the coordinator refused"))};
  }
  return Error{Code::kIo, fmt::format("{} answered with status {}", url_, answer.status)};
}

Status CoordinatorClient::get(const std::string& path, nlohmann::json& json) const {
  Answer answer;
  if (const Status s = exchange(head_of("GET", path, 0, ""), "", {}, {}, answer); !s) return s;
  return parsed(answer, json);
}

Status CoordinatorClient::post(const std::string& path, const std::string& type, const std::string& body, nlohmann::json& json) const {
  Answer answer;
  if (const Status s = exchange(head_of("POST", path, body.size(), type), body, {}, {}, answer); !s) return s;
  return parsed(answer, json);
}

Result<bool> CoordinatorClient::has_artifact(const std::string& sha256) const {
  Answer answer;
  if (const Status s = exchange(head_of("HEAD", "/api/artifacts/" + sha256, 0, ""), "", {}, {}, answer); !s) return s.error();
  return answer.status == 200;
}

Status CoordinatorClient::put_artifact(const std::filesystem::path& file, const std::string& sha256,
                                       const std::function<void(std::uint64_t, std::uint64_t)>& progress) const {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(file, error);
  if (error) return Error{Code::kNotFound, fmt::format("{}: no such file", file.string())};
  Answer answer;
  if (const Status s = exchange(head_of("PUT", "/api/artifacts/" + sha256, size, "application/octet-stream"), "", file, progress, answer); !s)
    return s;
  nlohmann::json json;
  return parsed(answer, json);
}

}  // namespace quantfleet::cli
