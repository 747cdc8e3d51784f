// Package peer is how nodes of a cluster talk to each other: HTTP on a port of its own, where every
// request says who speaks, in which version of the protocol, and by which ring. It knows
// nothing of what is said; the packages that have something to say bring paths and handlers.
//
//	POST /peer/v1/…
//	X-Minitrue-Protocol  major version, see [Protocol]
//	X-Minitrue-Node      id of the sender
//	X-Minitrue-Epoch     epoch of the sender's ring, 16 hex digits; in answers that of the answering node's
//	X-Minitrue-Deletes   digest of the deletes that the sender has applied, when there are some
//	X-Minitrue-Time      Unix ms      ┐
//	X-Minitrue-Nonce     32 hex digits│ when the nodes share a secret
//	X-Minitrue-Body      SHA-256      │
//	X-Minitrue-Auth      HMAC-SHA256  ┘ in answers: the server's proof that it knows the secret too
//
// The secret keeps strangers out and says that a request is whole; it hides nothing: TLS does that. A request
// can be replayed for five minutes, which does no harm, since all that nodes ask of each other can be done twice. Other headers and the
// bodies of answers are not covered.
//
// Requests that come by the thousand and have short answers ([Client.Write]) go on connections of their own, with the header X-Minitrue-Steady. It
// is the same HTTP/1.1; but one goroutine at each end does everything, where those of net/http would wake each other up four times a request.
//
// Long answers are streams of frames ([FrameWriter], [FrameReader]), which end with a frame that says so:
//
//	┌─────────┬──────────────┬─────────┐   ┌───┬──────────────┬─────────┬──────────────────────┐
//	│ uvarint │ CRC-32C of   │ payload │ … │ 0 │ CRC-32C of 0 │ uvarint │ what went wrong;     │
//	│ length  │ the payload  │         │   │   │ and the rest │ length  │ empty: nothing did   │
//	└─────────┴──────────────┴─────────┘   └───┴──────────────┴─────────┴──────────────────────┘
package peer
