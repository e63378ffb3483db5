// One request to an HTTP server, one answer: what external engines need and no more. Plain HTTP/1.1, a connection per request.
// Everything that comes back is hostile: sizes and time are limited.
#pragma once

#include "contract/error.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace quantfleet {

struct HttpUrl {
  std::string host, port;  // "127.0.0.1", "8000"
  std::string base;        // "/proxy", put before every path; "" where the URL has none
  std::string text;        // as given, for errors
};

// http://HOST[:PORT][/BASE].  Errors: kUsage; https is refused with what to do instead.
Result<HttpUrl> read_http_url(std::string_view url);

struct HttpRequest {
  std::string path;        // "/v1/completions"
  std::string body;        // JSON, sent with POST; empty: GET
  std::string bearer;      // empty: no Authorization header
  std::chrono::milliseconds timeout{600'000};  // for all of it
  std::uint64_t answer_bytes_max = 64u << 20;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
};

// Any status is an answer.  Errors name the URL: kUnreachable (no such host, refused, closed before an answer), kTimeout, kTruncated (closed
// inside the answer), kTooLarge, kBadValue (not HTTP).
Result<HttpAnswer> http_exchange(const HttpUrl& url, const HttpRequest& request);

}  // namespace quantfleet
