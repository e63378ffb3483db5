// The HTTP interface as functions from request to response: no sockets here (http_server.cc), so tests call it directly.
//
//   GET  /                          a page with live progress             GET /healthz   GET /metrics
//   GET  /api/runs                  GET /api/runs/ID                      GET /api/runs/ID/results
//   GET  /api/devices
//   POST /api/runs                  a plan in YAML (or JSON); models by hash       needs the token
//   POST /api/runs/ID/cancel                                                       needs the token
//   PUT  /api/artifacts/SHA256      the bytes of a model                            needs the token
//   GET  /api/artifacts/SHA256      HEAD says whether it is here
//
// Errors are {"error": {"code": "bad-value", "detail": "one sentence"}}. The token lies in the state folder (mode 0600);
// reading needs none, so the server listens on loopback unless told otherwise.
#pragma once

#include "coordinator/artifacts/artifact_directory.h"
#include "coordinator/coordinator.h"

#include <filesystem>
#include <functional>
#include <string>

namespace quantfleet::coordinator {

struct HttpRequest {
  std::string method;         // "GET"
  std::string path;           // without the query
  std::string content_type;
  std::string authorization;  // "Bearer ..."
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::filesystem::path file;  // sent instead of `body` when not empty
};

// Runs a function on the core's thread, writes and sends what it decided, then returns. Throws when the core has stopped.
using WithCore = std::function<void(const std::function<void(Coordinator&, Time, Decision&)>&)>;

class Api {
 public:
  Api(WithCore with_core, ArtifactDirectory& artifacts, std::filesystem::path database, std::string token)
      : with_core_(std::move(with_core)), artifacts_(artifacts), database_(std::move(database)), token_(std::move(token)) {}

  HttpResponse handle(const HttpRequest& request);
  // An upload arrives in pieces. Everything but the bytes was checked by `may_upload` before.
  HttpResponse may_upload(const HttpRequest& request, std::string& sha256);
  HttpResponse upload(const std::string& writer, const std::string& sha256, std::uint64_t offset, std::uint64_t size_bytes,
                      std::string_view bytes);
  void abandon_upload(const std::string& writer, const std::string& sha256) { artifacts_.abandon(writer, sha256); }

 private:
  HttpResponse get(const std::string& path);
  HttpResponse submit(const HttpRequest& request);
  HttpResponse cancel(const std::string& run);
  HttpResponse devices();
  HttpResponse metrics();
  bool has_token(const HttpRequest& request) const;

  WithCore with_core_;
  ArtifactDirectory& artifacts_;
  std::filesystem::path database_;
  std::string token_;
};

HttpResponse error_response(const Error& error);
std::string_view page();  // (page.cc)

}  // namespace quantfleet::coordinator
