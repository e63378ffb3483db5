// What a coordinator says: encoding and strict decoding. A lease has the same text on its way to the runner process.
#include "contract/message_fields.h"

namespace quantfleet {

std::string_view kind_of(const Work& work) {
  return std::visit([]<class T>(const T&) -> std::string_view { return tag_of(static_cast<const T*>(nullptr)); }, work);
}

std::string encode(const CoordinatorMessage& message) { return encode_variant(message); }

Result<CoordinatorMessage> decode_coordinator_message(std::string_view bytes) {
  return decode_variant<CoordinatorMessage>(bytes, kMessageBytesMax);
}

std::string encode(const GrantLease& lease) { return encode(CoordinatorMessage{lease}); }

Result<GrantLease> decode_grant_lease(std::string_view bytes) {
  Result<CoordinatorMessage> message = decode_coordinator_message(bytes);
  if (!message) return message.error();
  if (auto* lease = std::get_if<GrantLease>(&*message)) return std::move(*lease);
  return Error{Code::kBadValue, "type: expected \"grant_lease\""};
}

std::string encode(const Work& work) { return fields_io::dump(fields_io::to_json(work)); }
Result<Work> decode_work(std::string_view bytes) { return decode_object<Work>(bytes); }

}  // namespace quantfleet
