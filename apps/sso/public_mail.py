"""Domains that anybody can have an address of: nobody's own, so no organisation may claim one."""

from typing import Final

__all__ = ["PUBLIC_MAIL", "is_public_mail"]

PUBLIC_MAIL: Final[frozenset[str]] = frozenset(
    """
    gmail.com googlemail.com outlook.com outlook.de outlook.fr outlook.es outlook.it outlook.jp outlook.co.uk
    hotmail.com hotmail.co.uk hotmail.de hotmail.fr hotmail.it hotmail.es live.com live.co.uk live.de live.fr
    live.nl msn.com passport.com windowslive.com yahoo.com yahoo.co.uk yahoo.de yahoo.fr yahoo.it yahoo.es
    yahoo.co.jp yahoo.co.in yahoo.com.br yahoo.ca yahoo.com.au ymail.com rocketmail.com aol.com aim.com icloud.com
    me.com mac.com proton.me protonmail.com protonmail.ch pm.me tutanota.com tutanota.de tuta.io tuta.com
    fastmail.com fastmail.fm hey.com zoho.com zohomail.com zohomail.eu mail.com email.com usa.com gmx.com gmx.net
    gmx.de gmx.at gmx.ch gmx.co.uk web.de t-online.de freenet.de arcor.de posteo.de posteo.net mailbox.org mail.de
    yandex.com yandex.ru ya.ru mail.ru inbox.ru list.ru bk.ru rambler.ru qq.com foxmail.com 163.com 126.com
    yeah.net sina.com sina.cn sohu.com aliyun.com 139.com 189.cn naver.com hanmail.net daum.net nate.com kakao.com
    docomo.ne.jp ezweb.ne.jp softbank.ne.jp nifty.com orange.fr wanadoo.fr free.fr laposte.net sfr.fr neuf.fr
    bbox.fr libero.it virgilio.it tiscali.it alice.it tin.it btinternet.com btopenworld.com sky.com virginmedia.com
    ntlworld.com talktalk.net blueyonder.co.uk comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net
    charter.net earthlink.net juno.com optonline.net rediffmail.com sapo.pt bol.com.br uol.com.br terra.com.br
    ig.com.br telefonica.net seznam.cz centrum.cz wp.pl o2.pl interia.pl onet.pl abv.bg ukr.net bigpond.com
    optusnet.com.au xtra.co.nz shaw.ca rogers.com sympatico.ca telus.net bluewin.ch hispeed.ch skynet.be telenet.be
    ziggo.nl kpnmail.nl planet.nl xs4all.nl online.no telia.com simplelogin.com duck.com mozmail.com
    privaterelay.appleid.com mailinator.com guerrillamail.com 10minutemail.com temp-mail.org yopmail.com
    trashmail.com sharklasers.com getnada.com maildrop.cc dispostable.com discard.email
    """.split()  # noqa: SIM905 - a list of so many words is read more easily so
)


def is_public_mail(domain: str) -> bool:
    """Whether a domain, or one above it, gives addresses to anybody."""
    labels = domain.split(".")
    return any(".".join(labels[start:]) in PUBLIC_MAIL for start in range(len(labels) - 1))
