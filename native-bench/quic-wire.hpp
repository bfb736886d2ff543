// QUIC by ngtcp2 and GnuTLS: one connection on a UDP socket of its own, one bidirectional stream. It is built where the compiler finds both (HAS_QUIC).
//
// Written bytes stay where they are until the broker has acknowledged them. Nothing is paced: a datagram leaves when the congestion window allows it.
// Certificates are not checked, as over TLS.
#pragma once

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "clock.hpp"
#include "options.hpp"
#include "wire.hpp"

// What all connections of a process share.
class QuicContext {
 public:
  // With `resumes` each place among the connections keeps its last session, and its next connection resumes it. With `isAnswering` a client sends something whenever
  // something came.
  QuicContext(size_t places, bool resumes, bool isAnswering)
      : tickets_(places), resumes_(resumes), isAnswering_(isAnswering), slots_(slotCount * slotBytes) {
    if (gnutls_certificate_allocate_credentials(&credentials_) != 0) failRun("GnuTLS has no memory");
    for (unsigned i = 0; i < slotCount; i++) {
      vectors_[i] = {slots_.data() + i * slotBytes, slotBytes};
      messages_[i].msg_hdr.msg_iov = &vectors_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  QuicContext(const QuicContext&) = delete;
  QuicContext& operator=(const QuicContext&) = delete;
  ~QuicContext() { gnutls_certificate_free_credentials(credentials_); }

 private:
  friend class QuicWire;
  static constexpr unsigned slotCount = 64;
  static constexpr size_t slotBytes = 1536;
  // As tls-wire.hpp has it: one suite and one group for all transports that encrypt.
  static constexpr const char* priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519:%DISABLE_TLS13_COMPAT_MODE";

  gnutls_certificate_credentials_t credentials_ = nullptr;
  std::vector<std::vector<uint8_t>> tickets_;
  bool resumes_;
  bool isAnswering_;
  std::vector<uint8_t> slots_;
  iovec vectors_[slotCount];
  mmsghdr messages_[slotCount] = {};
};

class QuicWire final : public Wire {
 public:
  QuicWire(QuicContext& shared, uint32_t place) : shared_(shared), place_(place) {}
  ~QuicWire() override {
    ngtcp2_conn_del(connection_);
    if (session_ != nullptr) gnutls_deinit(session_);
  }

  void begin(int fd) override {
    socklen_t length = sizeof local_;
    getsockname(fd, reinterpret_cast<sockaddr*>(&local_), &length);
    getpeername(fd, reinterpret_cast<sockaddr*>(&remote_), &length);
    path_.local = {reinterpret_cast<ngtcp2_sockaddr*>(&local_), sizeof local_};
    path_.remote = {reinterpret_cast<ngtcp2_sockaddr*>(&remote_), sizeof remote_};
    makeConnection();
    makeSession();
  }

  bool isOpen() const override { return stream_ >= 0; }
  bool isResumed() const override { return gnutls_session_is_resumed(session_) != 0; }
  bool hasOutput() const override { return true; }  // an acknowledgement may be due

  void take(const uint8_t* bytes, size_t count) override {
    while (count > 0) {
      if (blocks_.empty() || blocks_.back().length == blockBytes) addBlock();
      Block& block = blocks_.back();
      const size_t taken = std::min(count, blockBytes - block.length);
      memcpy(block.bytes.get() + block.length, bytes, taken);
      block.length += taken;
      bytes += taken;
      count -= taken;
    }
  }

  Sent send(int fd) override {
    const uint64_t now = nowNanoseconds();
    bool isStreamBlocked = false;
    for (;;) {
      ngtcp2_vec vectors[2];
      const size_t count = isOpen() && !isStreamBlocked ? nextToSend(vectors) : 0;
      ngtcp2_ssize taken = -1;
      const ngtcp2_ssize written = hasEnded_ && count == 0 ? writeGoodbye(now)
                                                           : ngtcp2_conn_writev_stream(connection_, nullptr, nullptr, datagram_, sizeof datagram_, &taken,
                                                                                       NGTCP2_WRITE_STREAM_FLAG_NONE, count > 0 ? stream_ : -1, vectors, count, now);
      if (written == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
        isStreamBlocked = true;
        continue;
      }
      if (written < 0) return failsToSend(ngtcp2_strerror(static_cast<int>(written)));
      if (taken > 0) sent_ += static_cast<size_t>(taken);
      if (written == 0) return Sent::all;
      // What the kernel does not take is lost, as any router may lose it.
      if (::send(fd, datagram_, static_cast<size_t>(written), MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
        return failsToSend(strerror(errno));
      if (hasEnded_ && count == 0) return Sent::all;
    }
  }

  ssize_t receive(int fd, uint8_t* to, size_t room) override {
    if (room < windowBytes) failRun("no room for a window of QUIC");
    const int count = recvmmsg(fd, shared_.messages_, QuicContext::slotCount, MSG_DONTWAIT, nullptr);
    if (count <= 0) return errno == ECONNREFUSED ? fails("nobody is there") : -1;
    to_ = to;
    filled_ = 0;
    const uint64_t now = nowNanoseconds();
    constexpr ngtcp2_pkt_info info{};
    for (int i = 0; i < count; i++) {
      const mmsghdr& message = shared_.messages_[i];
      const int result = ngtcp2_conn_read_pkt(connection_, &path_, &info, static_cast<uint8_t*>(message.msg_hdr.msg_iov->iov_base), message.msg_len, now);
      if (result == NGTCP2_ERR_DRAINING) {
        if (filled_ > 0) break;
        return 0;
      }
      if (result != 0) return fails(std::string("QUIC: ") + ngtcp2_strerror(result));
    }
    if (isShaken_ && stream_ < 0 && ngtcp2_conn_open_bidi_stream(connection_, &stream_, nullptr) != 0) stream_ = -1;
    return filled_ > 0 ? static_cast<ssize_t>(filled_) : nothingYet();
  }

  void end() override { hasEnded_ = isOpen(); }

  uint64_t expiry() const override { return connection_ == nullptr ? never : ngtcp2_conn_get_expiry(connection_); }
  void expire() override {
    const int result = ngtcp2_conn_handle_expiry(connection_, nowNanoseconds());
    if (result != 0) problem_ = std::string("QUIC: ") + ngtcp2_strerror(result);
  }

 private:
  static constexpr size_t blockBytes = 4096;
  static constexpr size_t datagramBytesMax = 1350;
  // No more than this comes out at once.
  static constexpr uint64_t windowBytes = 256 * 1024;
  static constexpr size_t idBytes = 16;

  // A piece of what was written. The library points into it until it is acknowledged.
  struct Block {
    std::unique_ptr<uint8_t[]> bytes;
    size_t length = 0;
  };

  void addBlock() {
    if (spare_ == nullptr) spare_ = std::make_unique<uint8_t[]>(blockBytes);
    blocks_.push_back({std::move(spare_), 0});
  }

  // The first bytes that have not been sent, from one block or two. Returns the number of vectors.
  size_t nextToSend(ngtcp2_vec* vectors) {
    size_t at = static_cast<size_t>(sent_ - first_);
    size_t count = 0;
    for (size_t number = at / blockBytes; number < blocks_.size() && count < 2; number++) {
      const size_t from = at % blockBytes;
      if (blocks_[number].length == from) break;
      vectors[count++] = {blocks_[number].bytes.get() + from, blocks_[number].length - from};
      at = 0;
    }
    return count;
  }

  // Everything before `offset` is acknowledged.
  void letGo(uint64_t offset) {
    size_t whole = 0;
    while (whole < blocks_.size() && blocks_[whole].length == blockBytes && first_ + blockBytes <= offset) {
      spare_ = std::move(blocks_[whole].bytes);
      first_ += blockBytes;
      whole++;
    }
    blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<ptrdiff_t>(whole));
  }

  void makeConnection() {
    ngtcp2_callbacks callbacks{};
    callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
    callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
    callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
    callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
    callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
    callbacks.update_key = ngtcp2_crypto_update_key_cb;
    callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    callbacks.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    callbacks.rand = [](uint8_t* to, size_t count, const ngtcp2_rand_ctx*) { gnutls_rnd(GNUTLS_RND_NONCE, to, count); };
    callbacks.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* id, uint8_t* token, size_t count, void*) {
      fillId(*id, count);
      return gnutls_rnd(GNUTLS_RND_RANDOM, token, NGTCP2_STATELESS_RESET_TOKENLEN) == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
    };
    callbacks.handshake_completed = [](ngtcp2_conn*, void* self) {
      static_cast<QuicWire*>(self)->isShaken_ = true;
      return 0;
    };
    callbacks.recv_stream_data = [](ngtcp2_conn*, uint32_t flags, int64_t id, uint64_t, const uint8_t* bytes, size_t count, void* self, void*) {
      return static_cast<QuicWire*>(self)->received(id, bytes, count, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
    };
    callbacks.acked_stream_data_offset = [](ngtcp2_conn*, int64_t, uint64_t offset, uint64_t count, void* self, void*) {
      static_cast<QuicWire*>(self)->letGo(offset + count);
      return 0;
    };

    ngtcp2_settings settings;
    ngtcp2_settings_default(&settings);
    settings.initial_ts = nowNanoseconds();
    settings.max_tx_udp_payload_size = datagramBytesMax;
    settings.no_pmtud = 1;
    // ngtcp2 0.12 keeps an acknowledgement back for 25 ms or a second packet, and does not put it into what it sends meanwhile, as an endpoint should and others do
    // [RFC 9000 §13.2.1]. Where the round trip is longer, each answer had a datagram of its own for it. Now it is due at once, and leaves with the answer.
    if (shared_.isAnswering_) settings.ack_thresh = 1;
    settings.handshake_timeout = 30 * NGTCP2_SECONDS;
    ngtcp2_transport_params params;
    ngtcp2_transport_params_default(&params);
    params.initial_max_data = params.initial_max_stream_data_bidi_local = windowBytes;
    params.max_idle_timeout = 600 * NGTCP2_SECONDS;
    params.max_udp_payload_size = QuicContext::slotBytes;
    ngtcp2_cid theirs, ours;
    fillId(theirs, idBytes);
    fillId(ours, idBytes);
    if (ngtcp2_conn_client_new(&connection_, &theirs, &ours, &path_, NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params, nullptr, this) != 0)
      failRun("ngtcp2 makes no connection");
  }

  void makeSession() {
    if (gnutls_init(&session_, GNUTLS_CLIENT | GNUTLS_NO_END_OF_EARLY_DATA) != 0) failRun("GnuTLS has no memory");
    if (ngtcp2_crypto_gnutls_configure_client_session(session_) != 0) failRun("ngtcp2 does not take the session of GnuTLS");
    if (gnutls_priority_set_direct(session_, QuicContext::priority, nullptr) != 0) failRun("GnuTLS does not know its suite or group");
    gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, shared_.credentials_);
    uint8_t name[] = {'m', 'q', 't', 't'};
    const gnutls_datum_t protocol = {name, sizeof name};
    gnutls_alpn_set_protocols(session_, &protocol, 1, GNUTLS_ALPN_MANDATORY);
    reference_ = {[](ngtcp2_crypto_conn_ref* reference) { return static_cast<QuicWire*>(reference->user_data)->connection_; }, this};
    gnutls_session_set_ptr(session_, &reference_);
    ngtcp2_conn_set_tls_native_handle(connection_, session_);
    if (!shared_.resumes_) return;
    const std::vector<uint8_t>& ticket = shared_.tickets_[place_];
    if (!ticket.empty()) gnutls_session_set_data(session_, ticket.data(), ticket.size());
    gnutls_handshake_set_hook_function(session_, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET, GNUTLS_HOOK_POST, keepTicket);
  }

  static int keepTicket(gnutls_session_t session, unsigned, unsigned, unsigned, const gnutls_datum_t*) {
    const QuicWire& wire = *static_cast<QuicWire*>(static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session))->user_data);
    gnutls_datum_t data{};
    if (gnutls_session_get_data2(session, &data) != 0) return 0;
    wire.shared_.tickets_[wire.place_].assign(data.data, data.data + data.size);
    gnutls_free(data.data);
    return 0;
  }

  static void fillId(ngtcp2_cid& id, size_t count) {
    id.datalen = count;
    gnutls_rnd(GNUTLS_RND_NONCE, id.data, count);
  }

  int received(int64_t id, const uint8_t* bytes, size_t count, bool isEnd) {
    if (id != stream_ || isEnd) return NGTCP2_ERR_CALLBACK_FAILURE;
    memcpy(to_ + filled_, bytes, count);
    filled_ += count;
    ngtcp2_conn_extend_max_stream_offset(connection_, id, count);
    ngtcp2_conn_extend_max_offset(connection_, count);
    return 0;
  }

  ngtcp2_ssize writeGoodbye(uint64_t now) {
    ngtcp2_connection_close_error error;
    ngtcp2_connection_close_error_default(&error);
    ngtcp2_connection_close_error_set_application_error(&error, 0, nullptr, 0);
    return ngtcp2_conn_write_connection_close(connection_, nullptr, nullptr, datagram_, sizeof datagram_, &error, now);
  }

  Sent failsToSend(const char* why) {
    problem_ = std::string("QUIC: ") + why;
    return Sent::failed;
  }

  QuicContext& shared_;
  const uint32_t place_;
  sockaddr_in local_{};
  sockaddr_in remote_{};
  ngtcp2_path path_{};
  ngtcp2_conn* connection_ = nullptr;
  gnutls_session_t session_ = nullptr;
  ngtcp2_crypto_conn_ref reference_{};
  int64_t stream_ = -1;
  bool isShaken_ = false;
  bool hasEnded_ = false;
  std::vector<Block> blocks_;  // all but the last are full
  std::unique_ptr<uint8_t[]> spare_;
  uint64_t first_ = 0;  // offset in the stream of the first byte of blocks_
  uint64_t sent_ = 0;   // offset behind what was sent
  uint8_t* to_ = nullptr;
  size_t filled_ = 0;
  uint8_t datagram_[datagramBytesMax];
};
