// HTTP/1.1 over TCP on its own thread: reads requests with limits on size and time, asks the Api, writes answers.
// The only place with Boost.Beast.
#pragma once

#include "contract/error.h"

#include <memory>
#include <string>

namespace quantfleet::coordinator {

class Api;

class HttpServer {
 public:
  virtual ~HttpServer() = default;                    // stops and joins
  virtual const std::string& address() const = 0;     // "127.0.0.1:7411", with the port that was bound

  // `address`: ADDR:PORT, port 0 lets the system choose. kAddressInUse, kPermission, kUsage. `api` outlives the server.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& address, Api& api);
};

}  // namespace quantfleet::coordinator
