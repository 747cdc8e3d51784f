package promql

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/util/annotations"
)

const (
	maxForm        = 10 << 20 // bytes of a form
	maxAnnotations = 10       // warnings, and infos, of an answer
)

// handler answers a request whose form is parsed and whose context ends with the timeout.
type handler func(r *http.Request) (reply, error)

// reply is a successful answer. The zero value is one without content.
type reply struct {
	data        func(*encoder) // writes the data
	annotations annotations.Annotations
	query       string // the query that the annotations point into
	done        func() // nil, or called when the answer is written
}

// wrap makes a handler of net/http: it checks the method, parses the form, bounds the time and writes the answer.
func (a *API) wrap(path string, methods []string, h handler) http.Handler {
	allow := strings.Join(append(slices.Clone(methods), http.MethodOptions), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.o.Now()
		code := http.StatusNoContent
		defer func() { a.metrics.observe(path, code, a.o.Now().Sub(start)) }()

		switch {
		case r.Method == http.MethodOptions && methods != nil:
			w.Header().Set("Allow", allow)
			w.WriteHeader(code)
			return
		case methods != nil && !slices.Contains(methods, r.Method):
			w.Header().Set("Allow", allow)
			code = http.StatusMethodNotAllowed
			a.refuse(w, r, &apiError{errBadData, fmt.Errorf("the method %s is not allowed here, use %s", r.Method, strings.Join(methods, " or ")), code})
			return
		}
		if err := parseForm(w, r); err != nil {
			code = a.refuse(w, r, err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), a.o.Timeout)
		defer cancel()
		rep, err := h(r.WithContext(ctx))
		if rep.done != nil {
			defer rep.done()
		}
		if err != nil {
			code = a.refuse(w, r, classify(err))
			return
		}
		if rep.data == nil {
			w.WriteHeader(code)
			return
		}
		code = http.StatusOK
		a.answer(w, r, rep)
	})
}

func parseForm(w http.ResponseWriter, r *http.Request) *apiError {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	parse := r.ParseForm
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t == "multipart/form-data" && r.Method == http.MethodPost {
		parse = func() error { return r.ParseMultipartForm(maxForm) }
	}
	err := parse()
	if err == nil {
		return nil
	}
	e := &apiError{typ: errBadData, err: fmt.Errorf("error parsing form values: %w", err)}
	if errors.As(err, new(*http.MaxBytesError)) {
		e.code = http.StatusRequestEntityTooLarge
		e.err = fmt.Errorf("the request's body is over %d bytes", maxForm)
	}
	return e
}

func (a *API) unknown(r *http.Request) (reply, error) {
	return reply{}, &apiError{typ: errNotFound, err: fmt.Errorf("the path %q does not exist", r.URL.Path)}
}

// answer writes a success, as it is encoded, in the encoding that the client prefers.
func (a *API) answer(w http.ResponseWriter, r *http.Request, rep reply) {
	body := a.zip.body(w, r.Header.Get("Accept-Encoding"))
	e := a.encoders.get(body)
	defer a.encoders.put(e)
	e.raw(`{"status":"success","data":`)
	rep.data(e)
	warnings, infos := rep.annotations.AsStrings(rep.query, maxAnnotations, maxAnnotations)
	if len(warnings) > 0 {
		e.raw(`,"warnings":`)
		e.strings(warnings)
	}
	if len(infos) > 0 {
		e.raw(`,"infos":`)
		e.strings(infos)
	}
	e.raw(`}`)
	if err := body.finish(e); err != nil && r.Context().Err() == nil {
		a.o.Logger.Debug("could not write an answer", "path", r.URL.Path, "err", err)
	}
}

// refuse writes an error and returns its status code.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err *apiError) int {
	if err.typ == errInternal {
		a.o.Logger.Error("query failed", "path", r.URL.Path, "err", err)
	}
	b := append([]byte(nil), `{"status":"error","errorType":`...)
	b = appendString(b, string(err.typ))
	b = append(b, `,"error":`...)
	b = appendString(b, err.Error())
	b = append(b, '}')
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(err.status())
	w.Write(b) // an error here is the client's loss alone
	return err.status()
}
