from django.urls import path

from apps.identity import account_api, api, mfa_api

urlpatterns = [
    path("auth/login", api.Login.as_view(), name="auth-login"),
    path("auth/mfa/verify", mfa_api.MfaVerify.as_view(), name="auth-mfa-verify"),
    path("auth/mfa/verify/begin", mfa_api.MfaVerifyBegin.as_view(), name="auth-mfa-verify-begin"),
    path("auth/mfa/enable", mfa_api.MfaEnable.as_view(), name="auth-mfa-enable"),
    path("auth/mfa/factors", mfa_api.FactorList.as_view(), name="auth-factors"),
    path("auth/mfa/factors/<uuid:factor_id>", mfa_api.FactorDetail.as_view(), name="auth-factor"),
    path("auth/mfa/recovery-codes", mfa_api.RecoveryCodes.as_view(), name="auth-recovery-codes"),
    path("auth/webauthn/login/begin", mfa_api.PasskeyLoginBegin.as_view(), name="auth-passkey-begin"),
    path("auth/webauthn/login/complete", mfa_api.PasskeyLogin.as_view(), name="auth-passkey"),
    path("auth/webauthn/register/begin", mfa_api.WebauthnRegisterBegin.as_view(), name="auth-webauthn-begin"),
    path("auth/webauthn/register/complete", mfa_api.WebauthnRegister.as_view(), name="auth-webauthn"),
    path("auth/step-up", mfa_api.StepUp.as_view(), name="auth-step-up"),
    path("auth/step-up/begin", mfa_api.StepUpBegin.as_view(), name="auth-step-up-begin"),
    path("auth/refresh", api.Refresh.as_view(), name="auth-refresh"),
    path("auth/register", api.Register.as_view(), name="auth-register"),
    path("auth/forgot", account_api.Forgot.as_view(), name="auth-forgot"),
    path("auth/reset", account_api.Reset.as_view(), name="auth-reset"),
    path("auth/verify-email", account_api.VerifyEmail.as_view(), name="auth-verify-email"),
    path("auth/verify-email/resend", account_api.VerifyEmailResend.as_view(), name="auth-verify-email-resend"),
    path("auth/password", account_api.ChangePassword.as_view(), name="auth-password"),
    path("auth/email", account_api.ChangeEmail.as_view(), name="auth-email"),
    path("auth/sessions", account_api.SessionList.as_view(), name="auth-sessions"),
    path("auth/sessions/<uuid:session_id>", account_api.SessionDetail.as_view(), name="auth-session"),
    path("auth/logout", api.Logout.as_view(), name="auth-logout"),
    path("auth/me", api.Me.as_view(), name="auth-me"),
    path("auth/me/export", api.MeExport.as_view(), name="auth-me-export"),
    path("users/<uuid:user_id>", api.UserDetail.as_view(), name="user-detail"),
    path(".well-known/jwks.json", api.Jwks.as_view(), name="jwks"),
]
