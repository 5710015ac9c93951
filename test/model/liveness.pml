/*
 * An honest agent and the server: every request ends. Batcher (src/agent/batcher.ts) and session (src/server/session*.ts),
 * with nonces that run out while the chip signs, answers on reused evidence, a container that turns bad, and a session
 * that is lost. README.md says what is left out. Each #ifdef breaks one side; model.test.ts shows that it is noticed.
 */
#define RANGES 2
#define TICKS 3
#define NONCE_LIFE 1
#define MAX_AGE 1

mtype = { nonce, request, evidence, answer, quoteNeeded, refusal, lost };

/* Messages: kind, set of ranges (requests), set of ranges (confirms), number: tick at which the nonce was made. */
chan up = [2] of { mtype, byte, byte, byte };
chan down = [4] of { mtype, byte, byte };

byte now;
byte asked; byte ended;      /* sets of ranges whose workload asks, and has its end: identity, refusal, or told that the session is lost */
byte bad;                    /* ranges of which the list holds something bad */
bit gone;                    /* the connection is lost */

#define has(set, c) (((set) >> (c)) & 1)

active proctype clock() {
  do
  :: now < TICKS -> now++
  :: now >= TICKS -> break
  :: break
  od
}

active proctype world() {
  if
  :: bad = 1
  :: skip
  fi;
  if
  :: gone = 1
  :: skip
  fi
}

/* Messages are handled one after another. It keeps a nonce outstanding as long as the agent may need one. */
active proctype server() {
  byte set; byte confirms; byte made; byte left = 0; bit hasEvidence = 0; byte since = 0; bit out = 0;
endServer:
  do
  :: gone -> break
  :: !gone && !out && nfull(down) -> atomic { down!nonce(now, 0); out = 1; left = now }
  :: !gone && out && left + NONCE_LIFE < now -> out = 0          /* nobody can use it any more: another one is due */
  :: !gone && up?[request] -> atomic {
       up?request(set, confirms, made);
       if
       :: hasEvidence && now - since <= MAX_AGE && (set & bad) == 0 -> down!answer(set, 0)
       :: else -> down!quoteNeeded(set, 0)                         /* only a quote refuses */
       fi }
  :: !gone && up?[evidence] -> atomic {
       up?evidence(set, confirms, made);
#ifndef NONCES_NOT_REPLACED
       out = 0;
#endif
       if
       :: now - made > NONCE_LIFE ->
#ifdef LATE_NONCE_SWALLOWED
          skip
#else
          down!quoteNeeded(set, confirms)
#endif
       :: else ->
          hasEvidence = 1; since = made;
          if :: (set & ~bad) -> down!answer(set & ~bad, 1) :: else fi;
          if :: (set & bad) -> down!refusal(set & bad, 1) :: else fi;
          if :: set == 0 -> down!answer(0, 1) :: else fi
       fi }
  od
}

/* Batcher: gathers while a quote is in flight, at most one evidence at a time. */
active proctype agent() {
  byte waiting = 0; byte toConfirm = 0; byte inFlight = 0; byte set; byte mark;
  byte supply = 0; byte supplyMade = 0; bit flying = 0; bit quoted = 0; byte c = 0;
endAgent:
  do
  :: gone && empty(down) ->                                       /* end(): all pending are told, later ones at once */
#ifndef PENDING_FORGOTTEN
     atomic { ended = ended | asked; waiting = 0 }
#endif
     break
  /* A workload asks: on reused evidence once there is some, else under the next quote. */
  :: !gone && c < RANGES && nfull(up) -> atomic {
       asked = asked | (1 << c);
       if
       :: quoted -> up!request(1 << c, 0, 0)
       :: else -> waiting = waiting | (1 << c)
       fi;
       c++ }
  :: down?[nonce] -> atomic { down?nonce(supplyMade, mark); supply = 1 }
  :: down?[answer] -> atomic { down?answer(set, mark); ended = ended | set;
       if :: mark -> flying = 0; inFlight = 0 :: else -> toConfirm = toConfirm | set fi }
  :: down?[refusal] -> atomic { down?refusal(set, mark); ended = ended | set; flying = 0; inFlight = 0 }
  :: down?[quoteNeeded] -> atomic { down?quoteNeeded(set, mark);
       if
       :: flying && (set & inFlight) == set && (inFlight != 0) -> flying = 0; inFlight = 0; toConfirm = toConfirm | mark
       :: else
       fi;
#ifdef NOT_ASKED_AGAIN
       skip
#else
       waiting = waiting | (set & ~ended)
#endif
     }
  /*
   * Due: requests wait, or something is to be confirmed. A quote whose nonce has died while the chip signed, or while the
   * last evidence was judged, is not sent: it is made anew with the next nonce. One that is sent may come too late yet.
   */
  :: !gone && supply && !flying && (waiting | toConfirm) && nfull(up) -> atomic {
       supply = 0;
       if
       :: now - supplyMade > NONCE_LIFE ->
#ifdef DEAD_QUOTE_FORGETS
          waiting = 0
#else
          skip
#endif
       :: else ->
          inFlight = waiting; waiting = 0; flying = 1; quoted = 1;
          up!evidence(inFlight, toConfirm, supplyMade); toConfirm = 0
       fi }
  od
}

#define openRequest (asked & ~ended)
ltl everyRequestEnds { [] ((openRequest != 0) -> <> (openRequest == 0)) }
