// A CURVE key pair as a file that only its owner can read: two lines, "public = <Z85>" and "secret = <Z85>", 40 characters
// each. The public key is the agent's identity; the coordinator has a list of the admitted ones.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace quantfleet::agent {

struct KeyPair {
  std::string public_z85;
  std::string secret_z85;
};

KeyPair make_key_pair();
Result<KeyPair> read_key_pair(const std::filesystem::path& path);
Status write_key_pair(const std::filesystem::path& path, const KeyPair& keys);  // mode 0600; an existing file is kept: error
Result<KeyPair> read_or_make_key_pair(const std::filesystem::path& path);

bool is_z85_key(std::string_view text);
// A public key given as itself or as a file that has a line "public = <Z85>" (a key pair's file, or its public half).
Result<std::string> public_key_from(const std::string& key_or_path);

}  // namespace quantfleet::agent
