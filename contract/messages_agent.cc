// What an agent says: encoding and strict decoding.
#include "contract/message_fields.h"

namespace quantfleet {

std::string encode(const AgentMessage& message) { return encode_variant(message); }

Result<AgentMessage> decode_agent_message(std::string_view bytes) {
  return decode_variant<AgentMessage>(bytes, kMessageBytesMax);
}

std::string encode(const ItemResult& row) { return fields_io::dump(fields_io::to_json(row)); }
Result<ItemResult> decode_item_result(std::string_view bytes) { return decode_object<ItemResult>(bytes); }

std::string encode(const Provenance& provenance) { return fields_io::dump(fields_io::to_json(provenance)); }
Result<Provenance> decode_provenance(std::string_view bytes) { return decode_object<Provenance>(bytes); }

std::string encode(const Artifact& artifact) { return fields_io::dump(fields_io::to_json(artifact)); }
Result<Artifact> decode_artifact(std::string_view bytes) { return decode_object<Artifact>(bytes); }

}  // namespace quantfleet
