// Any bytes may arrive on the control and artifact sockets: decoding refuses or yields a message that survives a round trip.
#include "contract/messages.h"

#include <cstdlib>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto message = decode_agent_message(bytes)) {
    const auto again = decode_agent_message(encode(*message));
    if (!again || encode(*again) != encode(*message)) std::abort();
  }
  if (const auto message = decode_coordinator_message(bytes)) {
    const auto again = decode_coordinator_message(encode(*message));
    if (!again || encode(*again) != encode(*message)) std::abort();
  }
  (void)decode_item_result(bytes);
  (void)decode_provenance(bytes);
  (void)decode_artifact(bytes);
  (void)decode_work(bytes);
  const std::size_t cut = bytes.find('\n');
  const std::string_view header = bytes.substr(0, cut);
  const std::string_view frame = cut == std::string_view::npos ? std::string_view() : bytes.substr(cut + 1);
  (void)decode_artifact_request(header, frame);
  (void)decode_artifact_reply(header, frame);
  return 0;
}
